@echo off
rem The class tool from source, on Windows; see the script class.
go build -C "%~dp0." -buildvcs=false -trimpath -ldflags="-s -w" -o bin/class.exe ./cmd/class/classtool && "%~dp0bin\class.exe" %*
