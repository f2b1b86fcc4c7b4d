//! The steps of a rule, as nf_tables has them. Numbers are those of `linux/netfilter/nf_tables.h`.

use super::batch::Attributes;

/// One step of a rule. Where a comparison does not hold, or there are no such bytes, the rule says nothing.
pub(super) enum Expression {
    /// Loads what the kernel knows of the packet, by its number.
    Meta(u32),
    /// Loads bytes of a header: which, from where, how many.
    Load(u32, u32, u32),
    /// Leaves these bits of the byte that was loaded.
    Mask(u8),
    /// Compares the byte that was loaded.
    Compare(u32, u8),
    /// Looks for the address that was loaded in a set.
    Lookup(&'static str, Is),
    /// Lets the packet through.
    Accept,
    /// Drops it.
    Drop,
    /// Leaves the rest to another chain.
    GoTo(&'static str),
}

/// What a look into a set has to find for the rule to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    In,
    NotIn,
}

pub(super) const NFPROTO: u32 = 15;
pub(super) const L4PROTO: u32 = 16;
pub(super) const NETWORK: u32 = 1;
pub(super) const TRANSPORT: u32 = 2;
pub(super) const EQUAL: u32 = 0;
pub(super) const NOT_EQUAL: u32 = 1;
pub(super) const AT_MOST: u32 = 3;
pub(super) const AT_LEAST: u32 = 5;

impl Expression {
    /// Appends the step as an element of a rule's list.
    pub(super) fn write(&self, element: &mut Attributes<'_>) {
        /// The register that everything else goes through.
        const REGISTER: u32 = 1;
        let mut named = |name, fill: &dyn Fn(&mut Attributes<'_>)| {
            element.text(1, name);
            element.nest(2, |data| fill(data));
        };
        match self {
            Self::Meta(key) => named("meta", &|data| {
                data.number(1, REGISTER);
                data.number(2, *key);
            }),
            Self::Load(header, offset, length) => named("payload", &|data| {
                data.number(1, REGISTER);
                data.number(2, *header);
                data.number(3, *offset);
                data.number(4, *length);
            }),
            Self::Mask(bits) => named("bitwise", &|data| {
                data.number(1, REGISTER);
                data.number(2, REGISTER);
                data.number(3, 1);
                data.nest(4, |mask| mask.bytes(1, &[*bits]));
                data.nest(5, |flipped| flipped.bytes(1, &[0]));
            }),
            Self::Compare(operation, value) => named("cmp", &|data| {
                data.number(1, REGISTER);
                data.number(2, *operation);
                data.nest(3, |with| with.bytes(1, &[*value]));
            }),
            Self::Lookup(set, is) => named("lookup", &|data| {
                data.text(1, set);
                data.number(2, REGISTER);
                if *is == Is::NotIn {
                    data.number(5, 1);
                }
            }),
            Self::Accept => named("immediate", &|data| verdict(data, 1, None)),
            Self::Drop => named("immediate", &|data| verdict(data, 0, None)),
            Self::GoTo(chain) => named("immediate", &|data| verdict(data, -4, Some(chain))),
        }
    }
}

fn verdict(data: &mut Attributes<'_>, code: i32, chain: Option<&str>) {
    /// The register of verdicts.
    const VERDICT: u32 = 0;
    data.number(1, VERDICT);
    data.nest(2, |value| {
        value.nest(2, |verdict| {
            verdict.number(1, code.cast_unsigned());
            if let Some(chain) = chain {
                verdict.text(2, chain);
            }
        });
    });
}
