//! The objects of a store.

use std::io::Read;
use std::ops::RangeBounds;

use blockdev::name::ObjectName;

use super::{Store, parse};
use crate::byte_range::ByteRange;
use crate::error::Result;
use crate::objects::{ObjectInfo, ObjectOptions, ObjectReader, Objects, Upload, UploadInfo, skip};
use crate::progress::Watch;

/// Objects: streams of bytes with a name, such as backups and dumps. What they have in common is stored once.
impl Store {
    /// Stores all that `content` gives as an object. Nobody sees it before it is complete and on stable storage. `watch` hears how
    /// many bytes have come.
    ///
    /// If `options` say [`resume`](ObjectOptions::resume), `content` is read from its beginning, what is there already is passed
    /// over, and the last megabyte of that is compared. [`Store::put_object_from`] is for content that can be sought.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-put-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use siltstone::{ObjectOptions, unwatched};
    ///
    /// let info = store.put_object("notes/today", &ObjectOptions::new(), &b"some text"[..], &mut unwatched)?;
    /// assert_eq!((info.name.as_str(), info.size_bytes), ("notes/today", 9));
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists) unless it may [replace](ObjectOptions::replace) one of the name;
    /// [`Busy`](crate::ErrorKind::Busy) if somebody puts one of the name at the moment; [`Invalid`](crate::ErrorKind::Invalid) for a
    /// name, metadata or a time that cannot be, beyond 512 TiB, or if the content is not what was broken off;
    /// [`Io`](crate::ErrorKind::Io) if `content` fails, with its error as the source; [`Cancelled`](crate::ErrorKind::Cancelled),
    /// [`OutOfSpace`](crate::ErrorKind::OutOfSpace), [`ReadOnly`](crate::ErrorKind::ReadOnly), [`Stopped`](crate::ErrorKind::Stopped),
    /// [`Unavailable`](crate::ErrorKind::Unavailable). There is no object then, and what has come stays only to be resumed.
    pub fn put_object(
        &self,
        name: &str,
        options: &ObjectOptions,
        mut content: impl Read,
        watch: Watch<'_>,
    ) -> Result<ObjectInfo> {
        let name: ObjectName = parse(name)?;
        let mut offset = 0;
        if options.resume {
            let upload = self.backend.find_upload(&name, options)?;
            skip(&name, &upload, &mut content, watch)?;
            offset = upload.offset;
        }
        Ok(self.backend.put_object(&name, options, offset, &mut content, watch)?)
    }

    /// As [`Store::put_object`], but `content` begins at `offset`, where [`Store::find_upload`] has said that the upload goes on.
    /// Whether it is the same content as before is for the caller to know.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-put-from-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// use std::io::{Cursor, Seek, SeekFrom};
    /// use siltstone::{ObjectOptions, unwatched};
    ///
    /// let mut content = Cursor::new(vec![7; 100_000]);
    /// let options = ObjectOptions::new().resume(true);
    /// let upload = store.find_upload("image", &options)?;
    /// assert_eq!(upload.offset, 0, "nothing was broken off");
    /// content.seek(SeekFrom::Start(upload.offset)).unwrap();
    /// store.put_object_from("image", &options, upload.offset, content, &mut unwatched)?;
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// As there; [`Invalid`](crate::ErrorKind::Invalid) if the upload goes on elsewhere by now.
    pub fn put_object_from(
        &self,
        name: &str,
        options: &ObjectOptions,
        offset: u64,
        mut content: impl Read,
        watch: Watch<'_>,
    ) -> Result<ObjectInfo> {
        Ok(self.backend.put_object(&parse(name)?, options, offset, &mut content, watch)?)
    }

    /// Opens an object, or a range of its bytes, to read.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-get-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// # store.put_object("a", &siltstone::ObjectOptions::new(), &b"some text"[..], &mut siltstone::unwatched)?;
    /// let text = std::io::read_to_string(store.get_object("a", 5..)?).unwrap();
    /// assert_eq!(text, "text");
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Invalid`](crate::ErrorKind::Invalid) beyond the end;
    /// [`Corrupt`](crate::ErrorKind::Corrupt), [`Io`](crate::ErrorKind::Io), [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn get_object(&self, name: &str, range: impl RangeBounds<u64>) -> Result<ObjectReader> {
        Ok(ObjectReader::new(self.backend.open_object(&parse(name)?, ByteRange::new(range))?))
    }

    /// An object, without opening it.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Invalid`](crate::ErrorKind::Invalid) if it is not an object's name.
    pub fn object(&self, name: &str) -> Result<ObjectInfo> {
        Ok(self.backend.object(&parse(name)?)?)
    }

    /// The objects whose names begin with `prefix`, by name; all with an empty one.
    ///
    /// ```
    /// # let dir = std::env::temp_dir().join(format!("siltstone-objects-{}", std::process::id()));
    /// # let store = siltstone::Options::new().memory_bytes(128 << 20).create(&dir)?;
    /// for name in ["pg/1", "pg/2", "www/1"] {
    ///     store.put_object(name, &siltstone::ObjectOptions::new(), name.as_bytes(), &mut siltstone::unwatched)?;
    /// }
    /// let names: Vec<_> = store.objects("pg/").map(|object| Ok(object?.name)).collect::<siltstone::Result<_>>()?;
    /// assert_eq!(names, ["pg/1", "pg/2"]);
    /// # store.close()?;
    /// # std::fs::remove_dir_all(&dir).unwrap();
    /// # Ok::<(), siltstone::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of the items: [`Unavailable`](crate::ErrorKind::Unavailable). An error is the last one.
    #[must_use]
    pub fn objects(&self, prefix: &str) -> Objects {
        Objects::new(self, prefix)
    }

    /// Removes an object for good. Whoever reads it gets [`NotFound`](crate::ErrorKind::NotFound) from then on.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Invalid`](crate::ErrorKind::Invalid), [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn remove_object(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_object(&parse(name)?)?)
    }

    /// Where putting an object with these `options` would go on.
    ///
    /// # Errors
    /// [`Busy`](crate::ErrorKind::Busy) if somebody puts one of the name at the moment; [`Invalid`](crate::ErrorKind::Invalid).
    pub fn find_upload(&self, name: &str, options: &ObjectOptions) -> Result<Upload> {
        Ok(self.backend.find_upload(&parse(name)?, options)?)
    }

    /// The objects that are not complete, by name: those that are being put, and those that were broken off and can be resumed.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable).
    pub fn uploads(&self) -> Result<Vec<UploadInfo>> {
        Ok(self.backend.uploads()?)
    }

    /// Removes what has come of an object that was broken off.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound); [`Busy`](crate::ErrorKind::Busy) while it is being put;
    /// [`ReadOnly`](crate::ErrorKind::ReadOnly).
    pub fn remove_upload(&self, name: &str) -> Result<()> {
        Ok(self.backend.remove_upload(&parse(name)?)?)
    }
}
