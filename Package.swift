// swift-tools-version: 6.3
import PackageDescription

/// What every target of flatcow is compiled with; see docs/architecture.md, "Rules of the house".
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .enableExperimentalFeature("Lifetimes"),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

/// A module of the program; `uses` is the list of arrows that leave it.
func room(_ name: String, uses: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: uses, swiftSettings: strict)
}

func tests(_ name: String, of: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: of + ["TestSupport"], swiftSettings: strict)
}

let package = Package(
  name: "flatcow",
  products: [.executable(name: "flatcow", targets: ["flatcow"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
  ],
  targets: [
    .systemLibrary(
      name: "CFUSE", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev", "fuse3"])]),
    .systemLibrary(
      name: "CDeflate", pkgConfig: "libdeflate", providers: [.apt(["libdeflate-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CLinux"),

    room("HostStorage", uses: ["CLinux"]),
    room("ImageFormat", uses: ["HostStorage"]),
    room("RawFormat", uses: ["ImageFormat", "HostStorage"]),
    room("Qcow2Format", uses: ["ImageFormat", "HostStorage", "CDeflate", "CZlib", "CZstd"]),
    room("BackingChain", uses: ["RawFormat", "Qcow2Format", "ImageFormat", "HostStorage"]),
    room("StreamJob", uses: ["BackingChain", "ImageFormat", "HostStorage"]),
    room("FUSESession", uses: ["CFUSE", "HostStorage"]),
    room(
      "DiskExport",
      uses: ["StreamJob", "FUSESession", "BackingChain", "ImageFormat", "HostStorage"]),
    .executableTarget(
      name: "flatcow",
      dependencies: [
        "DiskExport", "StreamJob", "BackingChain", "Qcow2Format", "ImageFormat", "HostStorage", "FUSESession",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),

    .systemLibrary(name: "CWrites", path: "Tests/CWrites"),
    .target(
      name: "TestSupport", dependencies: ["HostStorage", "ImageFormat"],
      path: "Tests/TestSupport", swiftSettings: strict + [.unsafeFlags(["-O"])]),
    tests("HostStorageTests", of: ["HostStorage"]),
    tests("FlatcowTests", of: ["flatcow", "StreamJob", "BackingChain", "HostStorage"]),
    tests("StreamJobTests", of: ["StreamJob", "BackingChain", "ImageFormat", "HostStorage"]),
    tests("BackingChainTests", of: ["BackingChain", "RawFormat", "Qcow2Format", "ImageFormat", "HostStorage"]),
    tests("TestSupportTests", of: ["HostStorage"]),
    tests("RawFormatTests", of: ["RawFormat", "ImageFormat", "HostStorage"]),
    tests("ImageFormatTests", of: ["ImageFormat", "HostStorage"]),
    tests(
      "CrashConsistencyTests",
      of: ["StreamJob", "BackingChain", "Qcow2Format", "RawFormat", "ImageFormat", "HostStorage"]),
    tests("Qcow2FormatTests", of: ["Qcow2Format", "ImageFormat", "HostStorage"]),
    tests("QemuInteropTests", of: ["flatcow", "BackingChain", "Qcow2Format", "ImageFormat", "HostStorage"]),
    tests(
      "DiskExportTests",
      of: ["DiskExport", "StreamJob", "FUSESession", "BackingChain", "RawFormat", "ImageFormat", "HostStorage"]),
    tests(
      "MountTests",
      of: [
        "DiskExport", "StreamJob", "FUSESession", "BackingChain", "RawFormat", "ImageFormat", "HostStorage", "CWrites",
      ]),
    tests(
      "ConcurrencyTests",
      of: ["StreamJob", "BackingChain", "Qcow2Format", "RawFormat", "ImageFormat", "HostStorage"]),
    tests("SurvivalTests", of: ["flatcow", "HostStorage", "CLinux"]),
    tests(
      "CostTests",
      of: ["StreamJob", "BackingChain", "Qcow2Format", "RawFormat", "ImageFormat", "HostStorage"]),
    tests("TidyTests", of: []),
    tests("FUSESessionTests", of: ["FUSESession"]),
    .executableTarget(
      name: "forwarding-server", dependencies: ["FUSESession", "HostStorage"],
      path: "Tests/Benchmarks/ForwardingServer", swiftSettings: strict),
    .executableTarget(
      name: "flatcow-bench",
      dependencies: ["HostStorage", "CLinux", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Tests/Benchmarks/Bench", swiftSettings: strict),
  ]
)
