package policy

import _ "k8s.io/apiserver/pkg/admission/plugin/policy/validating"
