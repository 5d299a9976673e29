import XCTest
import @module@
import @module@Recorded

/// Times the recorded graph, once it gave the recorded outputs. Run them in a release build.
final class ModelBenchmarks: XCTestCase {
    private static let repetitions = 1000

    /// Features to outputs, the graph being prepared: the time of 1000 runs.
    func testRun() throws {
        let model = try checkedModel()
        let (x, edgeAttr) = (try RecordedRun.x(), try RecordedRun.edgeAttr())
        measure {
            for _ in 0..<Self.repetitions { _ = try! model.run(x, edgeAttr: edgeAttr) }
        }
    }

    /// Edges to a prepared graph: the time of 1000 preparations.
    func testPrepare() throws {
        let model = try checkedModel()
        guard let edges = try RecordedRun.edges() else { throw XCTSkip("the edges are part of the model") }
        measure {
            for _ in 0..<Self.repetitions { try! model.prepare(edges) }
        }
    }

    private func checkedModel() throws -> Model {
        let model = try Model()
        XCTAssertNil(try RecordedRun.difference(model))
        return model
    }
}
