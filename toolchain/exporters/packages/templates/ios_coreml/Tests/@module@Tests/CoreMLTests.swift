import XCTest
import @module@
import @module@Recorded

/// Repeats the recorded run in Core ML on this device. What the file is given is tested on every system.
final class CoreMLTests: XCTestCase {
    func testTheInputsOfTheFileAreAsRecorded() throws {
        let inputs = CoreMLInputs()
        try inputs.prepare(XCTUnwrap(RecordedRun.edges()))
        let arrays = try inputs.arrays(RecordedRun.x(), edgeAttr: RecordedRun.edgeAttr())
        let recorded = try RecordedCoreMLRun.arrays(arrays.keys)
        for (name, array) in arrays {
            XCTAssertEqual(array.floats?.map(\.bitPattern), recorded[name]?.floats?.map(\.bitPattern), name)
            XCTAssertEqual(array.ints?.map(Int.init), recorded[name]?.ints, name)
        }
    }

    func testAGraphBeyondTheBoundsIsRefused() throws {
        let inputs = CoreMLInputs()
        let nodes = inputs.contract.maxNodes + 1
        XCTAssertThrowsError(try inputs.prepare(EdgeList(nodes: nodes, source: [], target: [], weight: []))) { error in
            XCTAssertTrue(error.localizedDescription.hasPrefix("\(nodes) nodes"), error.localizedDescription)
        }
    }

    #if canImport(CoreML)
    @available(iOS 17, macOS 14, *)
    func testEveryOutputIsAsRecorded() async throws {
        let difference = try RecordedCoreMLRun.difference(await CoreMLModel.load())
        XCTAssertNil(difference)
    }
    #endif
}
