//! The part of HTTP/2 that is needed to parse and to refuse requests: RFC 9113.

use std::io::{self, Read};

/// The length of the text before a client's first frame: section 3.4.
const PREFACE: usize = 24;

/// Types of frames: section 6.
const DATA: u8 = 0;
/// The type of the first frame of a request.
pub const HEADERS: u8 = 1;
/// The type of a frame that cancels a request.
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The type of a frame that ends a connection.
pub const GOAWAY: u8 = 7;

/// Flags of frames: section 6.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Reads the connection preface of a client.
///
/// # Errors
/// If the client disconnects first.
pub fn read_preface(from: &mut impl Read) -> io::Result<[u8; PREFACE]> {
    let mut preface = [0; PREFACE];
    from.read_exact(&mut preface)?;
    Ok(preface)
}

/// A frame with its nine-byte header: section 4.1.
pub struct Frame(Vec<u8>);

impl Frame {
    /// Reads the next frame.
    ///
    /// # Errors
    /// If the connection ends.
    pub fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut frame = vec![0; 9];
        from.read_exact(&mut frame)?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        frame.resize(9 + length as usize, 0);
        from.read_exact(&mut frame[9..])?;
        Ok(Self(frame))
    }

    /// The whole frame.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its type.
    pub fn kind(&self) -> u8 {
        self.0[3]
    }

    /// Its stream.
    pub fn stream(&self) -> u32 {
        u32::from_be_bytes([self.0[5] & 0x7f, self.0[6], self.0[7], self.0[8]])
    }

    /// Whether it is the last frame of its stream.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind(), DATA | HEADERS) && self.0[4] & END_STREAM != 0
    }

    /// The acknowledgement that a server sends for this frame at once: sections 6.5.3 and 6.7.
    pub fn acknowledgement(&self) -> Option<Vec<u8>> {
        let is_new = matches!(self.kind(), SETTINGS | PING) && self.0[4] & ACK == 0;
        let payload = if self.kind() == PING { &self.0[9..] } else { &[] };
        is_new.then(|| frame(self.kind(), ACK, 0, payload))
    }
}

/// The first frame of a server with default settings.
pub fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// A complete response with HTTP status 503, as from a load balancer without a healthy server.
pub fn unavailable(stream: u32) -> Vec<u8> {
    // RFC 7541, section 6.2.2: a literal with name index 8, `:status`.
    frame(HEADERS, END_STREAM | END_HEADERS, stream, b"\x08\x03503")
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
