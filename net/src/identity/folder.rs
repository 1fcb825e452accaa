//! The seam to the disk: a folder of a few small files that nobody else may read, each replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use parking_lot::Mutex;
use zeroize::Zeroizing;

/// Longest file that is read.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where keys and certificates are kept. A file is there as a whole or not at all, also after a crash.
pub trait Folder: Send + Sync {
    /// The file's content; `None` if there is none.
    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>>;

    /// Makes a file, durable on return. [`io::ErrorKind::AlreadyExists`] if there is one.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file or puts these bytes in its place, durable on return.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file, durably on return; one that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A real directory, with mode 0700, its files 0600.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, made if it is not there; its parent must be.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => sync_parent(&path)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self { path })
    }

    /// Writes a new file under a name of its own, synced. What an interrupted call left there is overwritten.
    fn write_aside(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let aside = self.path.join(format!("{name}.new"));
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(aside)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn sync_parent(path: &std::path::Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(std::path::Path::new(".")))?.sync_all()
}

impl Folder for Directory {
    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // One allocation, so that no part of a key stays behind where a vector grew out of.
        let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(Some(bytes))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let aside = self.write_aside(name, bytes)?;
        // A link does not replace, unlike a rename.
        fs::hard_link(&aside, self.path.join(name))?;
        fs::remove_file(&aside)?;
        self.sync()
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let aside = self.write_aside(name, bytes)?;
        fs::rename(&aside, self.path.join(name))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Ok(()) => self.sync(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A folder in memory, for simulation and tests.
#[derive(Debug, Default)]
pub struct MemoryFolder {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl Folder for MemoryFolder {
    fn read(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.files.lock().get(name).cloned().map(Zeroizing::new))
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.files.lock();
        if files.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        files.insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.lock().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name);
        Ok(())
    }
}
