// swift-tools-version:5.9
import PackageDescription

/// Kernels get names of this package's own, so that an app can link several models.
let kernels: [String] = [
@kernels@
]

let package = Package(
    name: "@library@",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [
        .library(name: "@module@", targets: ["@module@"]),
    ],
    targets: [
        .target(
            name: "C@module@",
            publicHeadersPath: ".",
            cSettings: kernels.map { .define($0, to: "@library@_\($0)") }
        ),
        .target(
            name: "@module@",
            dependencies: ["C@module@"],
            resources: [.copy("Resources/manifest.json"), .copy("Resources/PrivacyInfo.xcprivacy")@resources@]
        ),
        .target(name: "@module@Recorded", dependencies: ["@module@"], resources: [.copy("recorded")]),
        .executableTarget(name: "@module@Example", dependencies: ["@module@", "@module@Recorded"]),
        .testTarget(name: "@module@Tests", dependencies: ["@module@", "@module@Recorded"]),
    ],
    cLanguageStandard: .c99
)
