//! What only the whole stack can show.
