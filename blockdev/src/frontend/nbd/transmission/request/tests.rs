//! The table of errors.

use std::sync::Arc;

use super::*;
use crate::frontend::nbd::wire::Cookie;

const SIZE: u64 = 1 << 40;
const TERMS: Terms = Terms { size_bytes: SIZE, read_only: false, structured: true, contexts: true };

fn verdict(command: Command, flags: u16, offset: u64, len: u32, terms: &Terms) -> Result<Operation, Errno> {
    check(&Request { flags: CommandFlags(flags), command, cookie: Cookie(1), offset, len }, terms)
}

#[test]
fn past_the_end() {
    let errors = [
        (Command::READ, Errno::INVAL),
        (Command::WRITE, Errno::NOSPC),
        (Command::WRITE_ZEROES, Errno::NOSPC),
        (Command::TRIM, Errno::INVAL),
        (Command::CACHE, Errno::INVAL),
        (Command::BLOCK_STATUS, Errno::INVAL),
    ];
    for (command, error) in errors {
        for (offset, len) in [(SIZE - 511, 512), (SIZE, 1), (u64::MAX, 1), (u64::MAX - 511, 512), (u64::MAX, u32::MAX)]
        {
            assert_eq!(verdict(command, 0, offset, len, &TERMS), Err(error), "{command:?} {offset}+{len}");
        }
        assert!(verdict(command, 0, SIZE - 512, 512, &TERMS).is_ok());
    }
}

#[test]
fn read_only() {
    let terms = Terms { read_only: true, ..TERMS };
    for command in [Command::WRITE, Command::WRITE_ZEROES, Command::TRIM] {
        assert_eq!(verdict(command, 0, 0, 512, &terms), Err(Errno::PERM));
    }
    assert!(verdict(Command::READ, 0, 0, 512, &terms).is_ok());
    assert!(verdict(Command::FLUSH, 0, 0, 0, &terms).is_ok());
}

#[test]
fn flags_are_refused_where_they_mean_nothing() {
    let allowed = [
        (Command::READ, 0b00101),
        (Command::WRITE, 0b00001),
        (Command::FLUSH, 0b00001),
        (Command::TRIM, 0b00001),
        (Command::CACHE, 0b00001),
        (Command::WRITE_ZEROES, 0b10011),
        (Command::BLOCK_STATUS, 0b01001),
    ];
    for (command, allowed) in allowed {
        let len = if command == Command::FLUSH { 0 } else { 512 };
        for bit in 0..16 {
            let fine = allowed & (1 << bit) != 0;
            assert_eq!(verdict(command, 1 << bit, 0, len, &TERMS).is_ok(), fine, "{command:?} bit {bit}");
        }
    }
    let simple = Terms { structured: false, ..TERMS };
    assert_eq!(verdict(Command::READ, CommandFlags::DF.0, 0, 512, &simple), Err(Errno::INVAL));
}

#[test]
fn oversized_payloads() {
    let len = PAYLOAD_BYTES_MAX + 1;
    assert_eq!(verdict(Command::WRITE, 0, 0, len, &TERMS), Err(Errno::INVAL));
    assert_eq!(verdict(Command::READ, 0, 0, len, &TERMS), Err(Errno::OVERFLOW));
    assert_eq!(verdict(Command::READ, 0, 0, len, &Terms { structured: false, ..TERMS }), Err(Errno::INVAL));
    for command in [Command::TRIM, Command::WRITE_ZEROES, Command::CACHE, Command::BLOCK_STATUS] {
        assert!(verdict(command, 0, 0, u32::MAX, &TERMS).is_ok(), "{command:?} has no payload");
    }
}

#[test]
fn oddities() {
    assert_eq!(verdict(Command(8), 0, 0, 0, &TERMS), Err(Errno::INVAL));
    assert_eq!(verdict(Command::FLUSH, 0, 512, 0, &TERMS), Err(Errno::INVAL));
    assert_eq!(verdict(Command::BLOCK_STATUS, 0, 0, 0, &TERMS), Err(Errno::INVAL));
    let without = Terms { contexts: false, ..TERMS };
    assert_eq!(verdict(Command::BLOCK_STATUS, 0, 0, 512, &without), Err(Errno::INVAL));
    let zero = verdict(Command::WRITE_ZEROES, CommandFlags::NO_HOLE.0, 0, 512, &TERMS);
    assert_eq!(zero, Ok(Operation::Zero(Zeroing::Allocated, Kind::Zero)));
}

#[test]
fn errors_of_the_store() {
    let beyond = Error::BeyondEnd { offset: 0, len: 1, size: 0 };
    assert_eq!(errno(&beyond, Kind::Write), Errno::NOSPC);
    assert_eq!(errno(&beyond, Kind::Read), Errno::INVAL);
    assert_eq!(errno(&Error::OutOfSpace, Kind::Write), Errno::NOSPC);
    assert_eq!(errno(&Error::ReadOnly, Kind::Trim), Errno::PERM);
    assert_eq!(errno(&Error::Poisoned(Arc::new(Error::OutOfSpace)), Kind::Flush), Errno::IO);
}
