//! Which codecs a batch may use, and decompression that never exceeds its bound.

use std::fmt;
use std::io::{BufRead, BufReader};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use zstd::zstd_safe;

use super::RecordFault;

/// How a batch's body is compressed.
///
/// Decompression allocates at most the caller's bound for its output, whatever the data declares,
/// and beside it what the codec itself needs: gzip 64 KiB, zstd 160 KiB (no window: the output is
/// the window), snappy nothing, lz4 three of its blocks, which are 64 KiB from Kafka's producers
/// and 8 MiB at most.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip (RFC 1952), also of several members.
    Gzip,
    /// Snappy: in xerial's framing, which Kafka's own clients write, or one raw block.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Compression {
    /// The codec in a batch's attributes (`CompressionType.id`).
    pub(super) fn from_attributes(attributes: u16) -> Result<Self, RecordFault> {
        match attributes & 7 {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            id => {
                Err(RecordFault::UnknownCompression { id: u8::try_from(id).expect("three bits") })
            }
        }
    }

    /// Kafka's number for it.
    pub(super) fn id(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Decompresses a whole body into at most `decompressed_max` bytes.
pub(super) fn decompress(
    compression: Compression,
    data: &[u8],
    decompressed_max: usize,
) -> Result<Bytes, RecordFault> {
    let out = Output { bytes: Vec::new(), compression, decompressed_max };
    let mut bytes = match compression {
        Compression::None => out.copy(data),
        Compression::Gzip => gzip(data, out),
        Compression::Snappy => snappy(data, out),
        Compression::Lz4 => lz4(data, out),
        Compression::Zstd => zstd(data, out),
    }?;
    debug_assert!(bytes.capacity() <= decompressed_max, "the bound on decompressed bytes");
    if bytes.capacity() / 2 > bytes.len() {
        bytes.shrink_to_fit();
    }
    Ok(Bytes::from(bytes))
}

fn gzip(data: &[u8], out: Output) -> Result<Vec<u8>, RecordFault> {
    out.drain(BufReader::with_capacity(GZIP_WINDOW, MultiGzDecoder::new(data)))
}

fn lz4(data: &[u8], mut out: Output) -> Result<Vec<u8>, RecordFault> {
    let mut rest = data;
    loop {
        // The decoder would take fewer bytes than a frame's header has for a proper end.
        if rest.len() < LZ4_FRAME_LENGTH_MIN {
            return Err(out.malformed());
        }
        let mut decoder = lz4_flex::frame::FrameDecoder::new(rest);
        out.append(&mut decoder)?;
        rest = decoder.into_inner();
        if rest.is_empty() {
            return Ok(out.bytes);
        }
    }
}

/// One-shot: the output is the window, so that no window that a frame declares is allocated.
fn zstd(data: &[u8], mut out: Output) -> Result<Vec<u8>, RecordFault> {
    let bound = zstd_safe::decompress_bound(data).map_err(|_| out.malformed())?;
    let capacity = usize::try_from(bound).unwrap_or(usize::MAX).min(out.decompressed_max);
    out.bytes.reserve_exact(capacity);
    let mut context = zstd_safe::DCtx::try_create().ok_or_else(|| out.malformed())?;
    match context.decompress(&mut out.bytes, data) {
        Ok(_) => Ok(out.bytes),
        Err(code) if code.wrapping_neg() == ZSTD_DESTINATION_TOO_SMALL => Err(out.too_large()),
        Err(_) => Err(out.malformed()),
    }
}

fn snappy(data: &[u8], mut out: Output) -> Result<Vec<u8>, RecordFault> {
    let Some(framed) = data.strip_prefix(XERIAL_MAGIC) else {
        out.snappy_block(data)?;
        return Ok(out.bytes);
    };
    // Version and least compatible version: both 1 since the format exists; Kafka reads neither.
    let mut rest = framed.get(8..).ok_or_else(|| out.malformed())?;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| out.malformed())?;
        let (block, after) = after.split_at_checked(length).ok_or_else(|| out.malformed())?;
        out.snappy_block(block)?;
        rest = after;
    }
    if rest.is_empty() { Ok(out.bytes) } else { Err(out.malformed()) }
}

/// What was decompressed so far; its capacity never exceeds the bound.
struct Output {
    bytes: Vec<u8>,
    compression: Compression,
    decompressed_max: usize,
}

impl Output {
    fn copy(mut self, data: &[u8]) -> Result<Vec<u8>, RecordFault> {
        self.extend(data)?;
        Ok(self.bytes)
    }

    fn drain(mut self, mut reader: impl BufRead) -> Result<Vec<u8>, RecordFault> {
        self.append(&mut reader)?;
        Ok(self.bytes)
    }

    /// Appends all that the reader gives.
    fn append(&mut self, reader: &mut impl BufRead) -> Result<(), RecordFault> {
        loop {
            let block = reader.fill_buf().map_err(|_| self.malformed())?;
            if block.is_empty() {
                return Ok(());
            }
            self.extend(block)?;
            let length = block.len();
            reader.consume(length);
        }
    }

    fn extend(&mut self, block: &[u8]) -> Result<(), RecordFault> {
        self.reserve(block.len())?;
        self.bytes.extend_from_slice(block);
        Ok(())
    }

    /// Appends one raw snappy block. Its declared length is believed only within the bound and
    /// within what its bytes can give: three bytes copy 64 at most (snappy's format description,
    /// section 2.2).
    fn snappy_block(&mut self, block: &[u8]) -> Result<(), RecordFault> {
        let length = snap::raw::decompress_len(block).map_err(|_| self.malformed())?;
        if length / SNAPPY_RATIO_MAX > block.len() {
            return Err(self.malformed());
        }
        self.reserve(length)?;
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        let written = snap::raw::Decoder::new().decompress(block, &mut self.bytes[start..]);
        if written.ok() == Some(length) { Ok(()) } else { Err(self.malformed()) }
    }

    /// Makes room for `more` bytes: at least doubles, up to the bound.
    fn reserve(&mut self, more: usize) -> Result<(), RecordFault> {
        let needed = self.bytes.len().checked_add(more).filter(|n| *n <= self.decompressed_max);
        let needed = needed.ok_or_else(|| self.too_large())?;
        if needed > self.bytes.capacity() {
            let capacity = needed.max(self.bytes.capacity() * 2).min(self.decompressed_max);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        Ok(())
    }

    fn malformed(&self) -> RecordFault {
        RecordFault::Decompress { compression: self.compression }
    }

    fn too_large(&self) -> RecordFault {
        let Self { compression, decompressed_max, .. } = *self;
        RecordFault::DecompressedTooLarge { compression, decompressed_max }
    }
}

/// How xerial's snappy-java frames its blocks (`SnappyCodec.MAGIC_HEADER`).
pub(super) const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";

/// 64 bytes from three, rounded up.
const SNAPPY_RATIO_MAX: usize = 22;

/// Magic number, flags, block size, header checksum (LZ4 Frame Format Description 1.6.4).
const LZ4_FRAME_LENGTH_MIN: usize = 7;

/// Deflate's window.
const GZIP_WINDOW: usize = 32 * 1024;

/// `ZSTD_error_dstSize_tooSmall` (zstd_errors.h; its values are stable since 1.3.1).
const ZSTD_DESTINATION_TOO_SMALL: usize = 70;
