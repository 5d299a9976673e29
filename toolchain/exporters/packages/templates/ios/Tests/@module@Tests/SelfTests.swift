import XCTest
import @module@
import @module@Recorded

/// Repeats the recorded run on this device.
final class SelfTests: XCTestCase {
    func testEveryOutputIsAsRecorded() throws {
        XCTAssertNil(try RecordedRun.difference(Model()))
    }

    func testASecondRunGivesTheSame() throws {
        let model = try Model()
        _ = try RecordedRun.difference(model)
        XCTAssertNil(try RecordedRun.difference(model))
    }

    func testTheRecordHasEveryOutput() throws {
        XCTAssertEqual(try RecordedRun.outputs().count, try Model().contract.outputs.count)
    }

    func testFeaturesOfAnotherSizeAreRefused() throws {
        let model = try Model()
        if let edges = try RecordedRun.edges() { try model.prepare(edges) }
        XCTAssertThrowsError(try model.run(RecordedRun.x() + [0], edgeAttr: RecordedRun.edgeAttr())) { error in
            XCTAssertTrue(error.localizedDescription.hasPrefix("x: "), error.localizedDescription)
        }
    }

    func testANodeThatDoesNotExistIsRefused() {
        XCTAssertThrowsError(try EdgeList(nodes: 2, [(0, 1), (1, 2)])) { error in
            XCTAssertEqual(error as? ModelError, .invalidInput("target: 2 at 1, but there are 2 nodes: expected 0 to 1."))
        }
    }
}
