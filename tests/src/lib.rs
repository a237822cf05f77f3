//! One set of cases against the agent alone and the whole stack.
