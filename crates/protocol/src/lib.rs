//! Cabana's wire: operations, events, errors, ids and frames.
