//! A batch of nfnetlink: requests that the kernel carries out all or none, as bytes.
//!
//! Numbers are those of `linux/netfilter/nfnetlink.h`; integers of nf_tables are in network order.

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLA_F_NESTED: u16 = 0x8000;
/// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 16;
const END: u16 = 17;
/// `NFNL_SUBSYS_NFTABLES`: the upper byte of a message's kind.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFPROTO_INET`: IPv4 and IPv6 alike.
pub(super) const INET: u8 = 1;

/// Requests in a row.
#[derive(Debug, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the last request begins.
    start: usize,
    sequence: u32,
}

impl Batch {
    /// An empty batch, whose requests are numbered from here on.
    pub(super) fn new(first: u32) -> Self {
        let mut batch = Self {
            bytes: Vec::new(),
            start: 0,
            sequence: first,
        };
        batch.frame(BEGIN);
        batch
    }

    /// Appends a request (`NFT_MSG_*`).
    pub(super) fn request(&mut self, kind: u8, flags: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.sequence = self.sequence.wrapping_add(1);
        self.header(u16::from_be_bytes([SUBSYSTEM, kind]), flags, INET, 0);
        fill(&mut Attributes(&mut self.bytes));
        self.measure();
    }

    /// The number of the last request.
    pub fn last(&self) -> u32 {
        self.sequence
    }

    /// The whole of it; the last request is acknowledged once everything is done.
    pub fn finish(mut self) -> Vec<u8> {
        if let Some(flags) = self.bytes[self.start + 6..].first_chunk_mut() {
            *flags = (u16::from_ne_bytes(*flags) | NLM_F_ACK).to_ne_bytes();
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.frame(END);
        self.bytes
    }

    /// What a batch begins and ends with: for whom it is.
    fn frame(&mut self, kind: u16) {
        self.header(kind, 0, 0, u16::from(SUBSYSTEM));
        self.measure();
    }

    fn header(&mut self, kind: u16, flags: u16, family: u8, resource: u16) {
        self.start = self.bytes.len();
        // The length is filled in at the end; no port, for the kernel knows it.
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&[family, 0]);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
    }

    fn measure(&mut self) {
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

/// The attributes of a request, or of one of its attributes.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A string with its NUL.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let mut text = value.as_bytes().to_vec();
        text.push(0);
        self.bytes(kind, &text);
    }

    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.bytes(kind | NLA_F_NESTED, &[]);
        fill(&mut Attributes(self.0));
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}
