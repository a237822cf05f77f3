//! Memory that is used again: to allocate, and to touch for the first time, costs more than to fill.

use bytes::BytesMut;

/// How many buffers are kept for their next use.
const SPARES: usize = 8;

/// Buffers for pieces that travel on as [`Bytes`](bytes::Bytes): the memory of a piece is filled again once whoever got it has
/// let go of it.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Vec<BytesMut>);

impl Buffers {
    /// An empty buffer with room for this many bytes.
    pub(crate) fn take(&mut self, room: usize) -> BytesMut {
        match self.0.iter_mut().position(|spare| spare.try_reclaim(room)) {
            Some(free) => self.0.remove(free),
            None => BytesMut::with_capacity(room),
        }
    }

    /// Keeps what is left of a buffer when its pieces have been split off. The oldest goes when there are too many.
    pub(crate) fn keep(&mut self, rest: BytesMut) {
        if self.0.len() == SPARES {
            self.0.remove(0);
        }
        self.0.push(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_its_pieces_are_gone() {
        let mut buffers = Buffers::default();
        let mut buffer = buffers.take(100);
        buffer.extend_from_slice(&[1; 100]);
        let (piece, place) = (buffer.split().freeze(), buffer.as_ptr() as usize - 100);
        buffers.keep(buffer);
        let other = buffers.take(100);
        assert_ne!(other.as_ptr() as usize, place, "the piece is still read");
        buffers.keep(other);
        drop(piece);
        let taken: Vec<_> = (0..2).map(|_| buffers.take(100)).collect();
        assert!(taken.iter().any(|buffer| buffer.as_ptr() as usize == place));
        assert!(taken.iter().all(|buffer| buffer.is_empty() && buffer.capacity() >= 100));
    }

    #[test]
    fn few_are_kept() {
        let mut buffers = Buffers::default();
        (0..10).for_each(|_| buffers.keep(BytesMut::with_capacity(100)));
        assert_eq!(buffers.0.len(), SPARES);
    }
}
