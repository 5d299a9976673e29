import @module@
import @module@Recorded

let model = try Model()
print("@library@:", try RecordedRun.difference(model) ?? "every output is as recorded")
for output in try model.run(RecordedRun.x(), edgeAttr: RecordedRun.edgeAttr()) where output.rows > 0 {
    print("\(output.name), row 0:", output[0].map(String.init(describing:)).joined(separator: " "))
}
