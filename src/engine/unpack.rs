//! From what the store keeps of a person to the person.

use crate::{
    domain::audience::{
        caps::CapRing,
        user::{CodecError, Lists, UserState},
    },
    ports::UserRow,
};

/// Decodes what the store keeps of a person.
pub(super) fn unpack(row: UserRow) -> Result<UserState, CodecError> {
    let caps = CapRing::decode(&row.caps)?;
    UserState::decode(&row.packed, row.version.unsigned_abs(), Lists::new(row.lists), caps)
}
