/// Node features that are 0 or 1, by the places of the ones: those of node i are `columns[pointer[i]..<pointer[i + 1]]`.
public struct SparseFeatures: Sendable {
    public let pointer: [Int]
    public let columns: [Int]

    /// Number of nodes.
    public var rows: Int { pointer.count - 1 }

    /// - Throws: `ModelError.invalidInput` for places that do not lie in the columns.
    public init(pointer: [Int], columns: [Int]) throws {
        try require(pointer.first == 0, "pointer: expected 0 as the first of nodes + 1 places.")
        for (place, pair) in zip(pointer, pointer.dropFirst()).enumerated() where pair.1 < pair.0 {
            throw ModelError.invalidInput("pointer: \(pair.1) at \(place + 1) follows \(pair.0); it must not decrease.")
        }
        try require(pointer.last == columns.count, "pointer: ends with \(pointer.last ?? 0), but there are \(columns.count) columns.")
        self.pointer = pointer
        self.columns = columns
    }

    /// Finds the ones in rows of `features` values.
    ///
    /// - Throws: `ModelError.invalidInput` for a value that is neither 0 nor 1.
    public init(_ x: [Float], features: Int) throws {
        try require(features > 0 && x.count % features == 0, "x: \(x.count) values, expected rows of \(features).")
        var pointer = [0]
        var columns: [Int] = []
        pointer.reserveCapacity(x.count / features + 1)
        for (i, value) in x.enumerated() {
            try require(value == 0 || value == 1, "x: \(value) at \(i), but this model takes features that are 0 or 1.")
            if value == 1 { columns.append(i % features) }
            if i % features == features - 1 { pointer.append(columns.count) }
        }
        self.pointer = pointer
        self.columns = columns
    }

    /// The same features as rows of `features` values.
    ///
    /// - Throws: `ModelError.invalidInput` for a column that does not exist.
    public func dense(features: Int) throws -> [Float] {
        try requireIn("columns", columns, features, "features")
        var x = [Float](repeating: 0, count: rows * features)
        for row in 0..<rows {
            for column in columns[pointer[row]..<pointer[row + 1]] { x[row * features + column] = 1 }
        }
        return x
    }
}
