module k8sbootcamp/tests/live/images/volumehelper

go 1.26.0

tool k8sbootcamp/tests/live/images/volumehelper
