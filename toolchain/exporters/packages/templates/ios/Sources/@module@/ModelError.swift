import Foundation

/// Why a call of `Model` failed.
public enum ModelError: Error, Equatable, Sendable {
    /// Arrays that do not belong together, or a graph that the model was not built for: what, and what was expected.
    case invalidInput(String)
    /// The native code refused the graph.
    case refused(Status)
    /// No graph is prepared: `prepare` comes first.
    case notPrepared
    /// The edges are part of the model, so that there is nothing to prepare.
    case fixedGraph
}

extension ModelError: LocalizedError {
    public var errorDescription: String? {
        switch self {
        case .invalidInput(let message): return message
        case .refused(let status): return "The model refused the graph: \(status.meaning)."
        case .notPrepared: return "No graph is prepared: call prepare(_:) first."
        case .fixedGraph: return "The edges are part of the model: call run(_:) alone."
        }
    }
}
