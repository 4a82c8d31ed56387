// swift-tools-version: 6.2
import PackageDescription

// The modules and the direction of their dependencies are described in docs/ARCHITECTURE.md:
// an arrow only points down, and nothing below `Server` imports NIO except `GRPC` and `Transport`.

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
    .product(name: "NIOHTTP1", package: "swift-nio"),
    .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
]

/// The executables and libraries that ship; every test target below names the one it mirrors.
let package = Package(
    name: "gulp",
    products: [
        .executable(name: "gulpd", targets: ["gulpd"]),
        .executable(name: "gulpctl", targets: ["gulpctl"]),
        .executable(name: "gulp-guard", targets: ["gulp-guard"]),
        .executable(name: "megamd", targets: ["megamd"]),
        .executable(name: "megam", targets: ["megam"]),
        .executable(name: "simulate", targets: ["simulate"]),
        .executable(name: "raft-scenario", targets: ["raft-scenario"]),
        .executable(name: "raft-bench", targets: ["raft-bench"]),
        .executable(name: "gulpd-unsynced", targets: ["gulpd-unsynced"]),
        .executable(name: "crash-workload", targets: ["crash-workload"]),
        .library(name: "Raft", targets: ["Raft"]),
        .library(name: "Linearizability", targets: ["Linearizability"]),
        .library(name: "EtcdClient", targets: ["EtcdClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // System libraries.
        .systemLibrary(name: "CRocksDB", pkgConfig: "rocksdb", providers: [.apt(["librocksdb-dev"])]),
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),

        // The sans-I/O core.
        .target(name: "Raft"),
        .target(name: "Store"),
        .target(name: "Replica", dependencies: ["Raft", "Store"]),

        // The edges.
        .target(
            name: "EtcdAPI", dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["Protos"]),
        .target(name: "RocksDB", dependencies: ["CRocksDB"]),
        .target(name: "Storage", dependencies: ["RocksDB", "Raft", "Store"]),
        .target(name: "GRPC", dependencies: ["CNghttp2"] + nio),
        .target(name: "Transport", dependencies: ["Raft", .product(name: "Logging", package: "swift-log")] + nio),
        .target(name: "Discovery", dependencies: ["COpenSSL", "Raft"]),
        .target(name: "Configuration", dependencies: ["Discovery", .product(name: "Yams", package: "Yams")]),
        .target(name: "StandardLog", dependencies: [.product(name: "Logging", package: "swift-log")]),
        .target(
            name: "Server",
            dependencies: [
                "StandardLog", "Replica", "Storage", "GRPC", "Transport", "Discovery", "Configuration", "EtcdAPI",
                "CSystemd",
                .product(name: "Logging", package: "swift-log"),
            ] + nio),

        // What is launched: the agent on a VM and the engine, above the store's client.
        .target(name: "EtcdClient", dependencies: ["GRPC", "EtcdAPI"] + nio),
        .target(name: "LaunchModel"),
        .target(name: "AssemblyFile", dependencies: ["LaunchModel", .product(name: "Yams", package: "Yams")]),
        .target(name: "CGuard"),
        .target(name: "Guard", dependencies: ["CGuard"]),
        .target(
            name: "AgentAPI", dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
            exclude: ["Protos"]),
        .target(
            name: "Agent",
            dependencies: [
                "EtcdClient", "LaunchModel", "Guard", "AgentAPI", "GRPC",
                .product(name: "Logging", package: "swift-log"),
            ] + nio),
        .target(
            name: "Engine",
            dependencies: ["EtcdClient", "LaunchModel", .product(name: "Logging", package: "swift-log")]),

        // The programs: flags, wiring, signals.
        .executableTarget(name: "gulpd", dependencies: ["Server", "Agent"]),
        // Without shared Swift libraries a guard is smaller and starts faster, and there are hundreds of them.
        .executableTarget(
            name: "gulp-guard", dependencies: ["Guard"],
            linkerSettings: [.unsafeFlags(["-static-stdlib"], .when(configuration: .release))]),
        .executableTarget(
            name: "megamd",
            dependencies: ["Engine", "StandardLog", .product(name: "ArgumentParser", package: "swift-argument-parser")]),
        .executableTarget(name: "megam", dependencies: ["MegamCommands"]),
        .target(
            name: "MegamCommands",
            dependencies: [
                "AssemblyFile", "AgentAPI", "EtcdClient", "GRPC", "LaunchModel",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Yams", package: "Yams"),
            ] + nio),
        .executableTarget(name: "gulpctl", dependencies: ["GulpctlCommands"]),
        .target(
            name: "GulpctlCommands",
            dependencies: ["EtcdClient", "GRPC", "EtcdAPI", "Raft", "Replica", "Storage"] + nio),
        .target(name: "Linearizability"),
        .target(name: "Simulation", dependencies: ["Replica"]),
        .executableTarget(
            name: "simulate",
            dependencies: ["Simulation", .product(name: "ArgumentParser", package: "swift-argument-parser")]),

        .target(name: "RaftScenario", dependencies: ["Raft"]),
        .executableTarget(name: "raft-scenario", dependencies: ["RaftScenario"]),
        .executableTarget(name: "raft-bench", dependencies: ["Raft"]),

        // For the tests of lost writes alone: it breaks a promise on purpose.
        .executableTarget(name: "gulpd-unsynced", dependencies: ["Server"], path: "Tests/Unsynced"),

        // Tests mirror Sources.
        .target(name: "TestSupport", dependencies: ["EtcdClient"], path: "Tests/Support"),
        .testTarget(name: "RaftTests", dependencies: ["Raft", "RaftScenario"], exclude: ["Scenarios"]),
        .testTarget(name: "StoreTests", dependencies: ["Store"]),
        .testTarget(name: "ReplicaTests", dependencies: ["Replica"]),
        .testTarget(name: "LinearizabilityTests", dependencies: ["Linearizability"]),
        .testTarget(name: "SimulationTests", dependencies: ["Simulation"]),
        .executableTarget(name: "storage-reader", dependencies: ["Storage"], path: "Tests/StorageReader"),
        .executableTarget(
            name: "crash-workload", dependencies: ["Replica", "Storage"], path: "Tests/CrashPoints/Workload"),
        .testTarget(name: "StorageTests", dependencies: ["Storage", "storage-reader"]),
        .testTarget(name: "GRPCTests", dependencies: ["GRPC"] + nio),
        .testTarget(name: "TransportTests", dependencies: ["Transport"]),
        .testTarget(name: "DiscoveryTests", dependencies: ["Discovery"]),
        .testTarget(name: "ConfigurationTests", dependencies: ["Configuration"]),
        .testTarget(name: "ServerTests", dependencies: ["Server", "EtcdAPI"] + nio),
        .testTarget(name: "EtcdClientTests", dependencies: ["EtcdClient", "TestSupport"] + nio),
        .testTarget(name: "GulpctlTests", dependencies: ["GulpctlCommands"]),
        .testTarget(name: "LaunchModelTests", dependencies: ["LaunchModel"]),
        .testTarget(name: "AssemblyFileTests", dependencies: ["AssemblyFile"]),
        .testTarget(name: "GuardTests", dependencies: ["Guard", "gulp-guard"]),
        .testTarget(name: "AgentTests", dependencies: ["Agent", "gulp-guard", "TestSupport"] + nio),
        .testTarget(name: "EngineTests", dependencies: ["Engine", "TestSupport"]),
        .testTarget(name: "MegamTests", dependencies: ["MegamCommands", "TestSupport"] + nio),
    ],
    swiftLanguageModes: [.v6]
)
