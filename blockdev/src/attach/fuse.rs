//! The FUSE method's file system: one directory with one file, `volume`, whose bytes are the volume's.
//!
//! The file is opened for direct I/O, so that nothing is cached here: the loop device's users have the only
//! copy in the page cache. Each FUSE thread carries one request to its answer.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, WriteFlags,
};
use rustix::fs::FallocateFlags;

use super::remote::{Connect, ReconnectingDisk};

/// Requests the kernel may have under way; what a loop device can queue.
const IN_FLIGHT_MAX: u16 = 128;

/// Threads, hence requests on their way to the daemon at once.
const THREAD_COUNT: usize = 8;

/// Nothing here ever changes, so the kernel may remember it.
const TTL: Duration = Duration::from_secs(24 * 3600);

const FILE_NAME: &str = "volume";
const FILE_INODE: INodeNo = INodeNo(2);

/// Reported as the file system's block size, from which the loop device takes its discard granularity.
const BLOCK_BYTES: u32 = 4096;

/// The file system.
pub(super) struct VolumeFile<C: Connect> {
    disk: ReconnectingDisk<C>,
    size_bytes: u64,
    read_only: bool,
}

thread_local! {
    static READ_BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl<C: Connect + 'static> VolumeFile<C> {
    pub(super) fn new(disk: ReconnectingDisk<C>, size_bytes: u64, read_only: bool) -> Self {
        Self { disk, size_bytes, read_only }
    }

    /// Mounts it at `mount_point` and serves it until it is unmounted.
    pub(super) fn mount(self, mount_point: &Path) -> io::Result<BackgroundSession> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("silt".to_owned()),
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::NoExec,
            MountOption::NoAtime,
        ];
        if self.read_only {
            config.mount_options.push(MountOption::RO);
        }
        config.n_threads = Some(THREAD_COUNT);
        config.clone_fd = true;
        Session::new(self, mount_point, &config)?.spawn()
    }

    fn attributes(&self, inode: INodeNo) -> Option<FileAttr> {
        let (kind, size, perm) = match inode {
            INodeNo::ROOT => (FileType::Directory, 0, 0o500),
            FILE_INODE if self.read_only => (FileType::RegularFile, self.size_bytes, 0o400),
            FILE_INODE => (FileType::RegularFile, self.size_bytes, 0o600),
            _ => return None,
        };
        Some(FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: BLOCK_BYTES,
            flags: 0,
        })
    }

    /// Fails unless `[offset, offset + len)` lies within the volume and it may be changed.
    fn check_change(&self, offset: u64, len: u64) -> Result<(), Errno> {
        match offset.checked_add(len) {
            _ if self.read_only => Err(Errno::EROFS),
            Some(end) if end <= self.size_bytes => Ok(()),
            _ => Err(Errno::ENOSPC),
        }
    }

    /// Both modes must leave zeros behind: the loop device asks for a hole also where its users asked for zeros, so
    /// a hole is not NBD's TRIM, which promises nothing about later reads.
    fn zero(&self, offset: u64, len: u64, mode: i32) -> Result<(), Errno> {
        self.check_change(offset, len)?;
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let deallocate = if mode == FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE {
            true
        } else if mode.difference(FallocateFlags::KEEP_SIZE) == FallocateFlags::ZERO_RANGE {
            false
        } else {
            return Err(Errno::EOPNOTSUPP);
        };
        self.disk.zero(offset, len, deallocate).map_err(errno)
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

fn answer(reply: ReplyEmpty, result: Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl<C: Connect + 'static> Filesystem for VolumeFile<C> {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        if config.add_capabilities(InitFlags::FUSE_ASYNC_DIO).is_err() {
            tracing::warn!("this kernel's FUSE does direct I/O one request at a time");
        }
        // Only fails for zero.
        let _previous = config.set_max_background(IN_FLIGHT_MAX);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.attributes(FILE_INODE) {
            Some(attributes) if parent == INodeNo::ROOT && name == FILE_NAME => {
                reply.entry(&TTL, &attributes, Generation(0));
            }
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.attributes(inode) {
            Some(attributes) => reply.attr(&TTL, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let entries = [
            (INodeNo::ROOT, FileType::Directory, "."),
            (INodeNo::ROOT, FileType::Directory, ".."),
            (FILE_INODE, FileType::RegularFile, FILE_NAME),
        ];
        for (next, (inode, kind, name)) in (1..).zip(entries).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(inode, next, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        reply.statfs(self.size_bytes / u64::from(BLOCK_BYTES), 0, 0, 1, 0, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn open(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);
    }

    fn read(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = self.size_bytes.saturating_sub(offset).min(u64::from(size)) as usize;
        READ_BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            let data = &mut buffer[..len];
            match self.disk.read(offset, data) {
                Ok(()) => reply.data(data),
                Err(error) => reply.error(errno(error)),
            }
        });
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let result = self.check_change(offset, data.len() as u64);
        match result.and_then(|()| self.disk.write(offset, data).map_err(errno)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    /// Closing the file is no barrier: nothing is cached here, and whoever wants its data safe calls fsync.
    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // NBD answers a flush of a read-only export with an error, and there is nothing to flush.
        let result = if self.read_only { Ok(()) } else { self.disk.flush().map_err(errno) };
        answer(reply, result);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        answer(reply, self.zero(offset, length, mode));
    }
}
