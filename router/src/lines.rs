//! Lines out of pieces of bytes, wherever the pieces were cut. It must not know what a line says.

use futures_util::{Stream, StreamExt as _, stream};
use shared::{Error, limits};

/// The lines of a body, without their line breaks. What follows the last line break is no line:
/// the body broke off there. Ends after the first error.
pub fn lines(
    pieces: impl Stream<Item = Result<Vec<u8>, Error>> + Unpin,
) -> impl Stream<Item = Result<String, Error>> {
    struct Reading<S> {
        pieces: Option<S>,
        /// What was read, and how much of it holds no line break for sure.
        buffer: Vec<u8>,
        searched: usize,
    }
    let reading = Reading { pieces: Some(pieces), buffer: Vec::new(), searched: 0 };
    stream::unfold(reading, async |mut reading| {
        loop {
            let fresh = reading.buffer.get(reading.searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
                let end = reading.searched.saturating_add(at);
                let rest = reading.buffer.split_off(end.saturating_add(1));
                let mut line = std::mem::replace(&mut reading.buffer, rest);
                line.truncate(end);
                reading.searched = 0;
                let line = String::from_utf8(line)
                    .map_err(|_| Error::internal("a line of an Agent is not UTF-8"));
                return Some((line, reading));
            }
            reading.searched = reading.buffer.len();
            let failed = match reading.pieces.as_mut()?.next().await {
                None => return None,
                Some(Ok(piece)) => {
                    reading.buffer.extend(piece);
                    let long = reading.buffer.len() > limits::LINE_BYTES_MAX;
                    long.then(|| Error::internal("a line of an Agent is too long"))
                }
                Some(Err(error)) => Some(error),
            };
            if let Some(error) = failed {
                (reading.pieces, reading.buffer, reading.searched) = (None, Vec::new(), 0);
                return Some((Err(error), reading));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    fn read(pieces: Vec<Result<Vec<u8>, Error>>) -> Vec<Result<String, Error>> {
        lines(stream::iter(pieces)).collect::<Vec<_>>().now_or_never().unwrap()
    }

    #[test]
    fn an_error_is_the_end() {
        let error = Error::internal("x");
        let pieces = vec![Ok(b"a\nb".to_vec()), Err(error.clone()), Ok(b"c\n".to_vec())];
        assert_eq!(read(pieces), [Ok("a".to_owned()), Err(error)]);
        assert!(read(vec![Ok(b"\xff\n".to_vec())])[0].is_err());
        assert!(read(vec![Ok(vec![b'a'; limits::LINE_BYTES_MAX + 1])])[0].is_err());
    }

    proptest! {
        #[test]
        fn pieces_may_be_cut_anywhere(
            texts in proptest::collection::vec("[^\n]{0,9}", 0..9),
            sizes in proptest::collection::vec(1_usize..9, 1..9),
        ) {
            let body: String = texts.iter().map(|text| format!("{text}\n")).collect();
            let mut pieces = Vec::new();
            let mut rest = body.as_bytes();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, tail) = rest.split_at((*size).min(rest.len()));
                pieces.push(Ok(piece.to_vec()));
                rest = tail;
            }
            let expected: Vec<_> = texts.into_iter().map(Ok).collect();
            prop_assert_eq!(read(pieces), expected);
        }
    }
}
