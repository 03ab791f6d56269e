@echo off
rem The class tool and the lab's own tools, from source on Windows; see the script class.
set GOFLAGS=%GOFLAGS% -trimpath
if "%1"=="kindcluster" goto tool
if "%1"=="sharedcluster" goto tool
if "%1"=="secret" goto tool
if "%1"=="kind" goto tool
go tool classtool %*
exit /b
:tool
go tool %*
