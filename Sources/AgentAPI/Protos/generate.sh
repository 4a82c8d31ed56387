#!/usr/bin/env bash
# Regenerates ../Generated from the .proto files here. Needs protoc and swift-protobuf's protoc-gen-swift
# (swift build -c release --product protoc-gen-swift in a checkout of swift-protobuf); pass its path as the first argument.
set -euo pipefail
cd "$(dirname "$0")"
protoc --plugin=protoc-gen-swift="${1:?path of protoc-gen-swift}" \
    --swift_opt=Visibility=Public --swift_opt=FileNaming=DropPath --swift_out=../Generated ./*.proto
