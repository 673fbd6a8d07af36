//! Who runs the server, and where its files lie.

use std::{
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, User};

use super::{EmbeddedError, error::Doing};

/// Where clusters go that cannot lie in their data folder.
const ELSEWHERE: &str = "/var/lib/tessera";

/// The user who runs the server: PostgreSQL refuses root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Uid,
    pub(super) gid: Gid,
}

impl Account {
    pub(super) fn current() -> Account {
        Account { uid: Uid::effective(), gid: Gid::effective() }
    }

    /// This process's own user; for root the owner of the data if that is someone else, or `postgres`,
    /// or `nobody`.
    fn for_data(data_dir: &Path) -> Result<Account, EmbeddedError> {
        let current = Account::current();
        if !current.uid.is_root() {
            return Ok(current);
        }
        for folder in [data_dir.join("pg"), data_dir.to_owned()] {
            if let Ok(owner) = fs::metadata(folder)
                && owner.uid() != 0
            {
                return Ok(Account { uid: Uid::from_raw(owner.uid()), gid: Gid::from_raw(owner.gid()) });
            }
        }
        let user = ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).ok().flatten());
        user.map(|user| Account { uid: user.uid, gid: user.gid }).ok_or(EmbeddedError::NoAccount)
    }

    /// The outermost folder on the way to `path` that this user may not enter, by its mode bits.
    pub(super) fn shut_out_of(self, path: &Path) -> Option<PathBuf> {
        let mut folders: Vec<&Path> = path.ancestors().collect();
        folders.reverse();
        folders.into_iter().find(|folder| fs::metadata(folder).is_ok_and(|meta| !self.may_enter(&meta))).map(Into::into)
    }

    fn may_enter(self, folder: &fs::Metadata) -> bool {
        let bit = match () {
            () if self.uid.is_root() => return true,
            () if folder.uid() == self.uid.as_raw() => 0o100,
            () if folder.gid() == self.gid.as_raw() => 0o010,
            () => 0o001,
        };
        folder.mode() & bit != 0
    }

    fn own(self, path: &Path) -> Result<(), EmbeddedError> {
        chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw())).doing("change the owner of", path)
    }
}

/// Where one cluster's files are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) account: Account,
    /// Tessera's data folder, without links in its path.
    pub(super) data_dir: PathBuf,
    /// The cluster; a link where the cluster had to go elsewhere.
    pub(super) pgdata: PathBuf,
    /// The folder of the socket: short, because a socket's path may have 107 bytes.
    pub(super) runtime: PathBuf,
}

impl Place {
    /// Finds (and makes) the data folder and decides who runs the server. Changes nothing in an existing cluster.
    pub(super) fn of(data_dir: &Path) -> Result<Place, EmbeddedError> {
        fs::create_dir_all(data_dir).doing("make", data_dir)?;
        let data_dir = data_dir.canonicalize().doing("resolve", data_dir)?;
        let account = Account::for_data(&data_dir)?;
        let digest = blake3::hash(data_dir.as_os_str().as_encoded_bytes()).to_hex();
        let runtime = format!("/tmp/tessera-{}-{}", account.uid, &digest[..16]).into();
        Ok(Place { account, pgdata: data_dir.join("pg"), data_dir, runtime })
    }

    /// The address for sqlx: the database `tessera`, through the private socket.
    pub(super) fn url(&self) -> String {
        format!("postgres://tessera@localhost/tessera?host={}", self.runtime.display())
    }

    pub(super) fn log(&self) -> PathBuf {
        self.data_dir.join("postgres.log")
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.data_dir.join("postgres.lock")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.runtime.join(".s.PGSQL.5432")
    }

    /// The major version of the cluster's data; none where there is no cluster yet.
    pub(super) fn major(&self) -> Result<Option<String>, EmbeddedError> {
        match fs::read_to_string(self.pgdata.join("PG_VERSION")) {
            Ok(major) => Ok(Some(major.trim().to_owned())),
            // A link that leads nowhere must not pass for "no cluster yet".
            Err(e) if e.kind() == ErrorKind::NotFound && fs::symlink_metadata(&self.pgdata).is_err() => Ok(None),
            Err(e) => Err(e).doing("read", self.pgdata.join("PG_VERSION")),
        }
    }

    /// Resolves where an existing cluster really lies and checks that the account can work in it.
    pub(super) fn check_existing(&mut self) -> Result<(), EmbeddedError> {
        self.pgdata = self.pgdata.canonicalize().doing("resolve", &self.pgdata)?;
        let (owner, uid) =
            (fs::metadata(&self.pgdata).doing("inspect", &self.pgdata)?.uid(), self.account.uid.as_raw());
        if owner != uid {
            return Err(EmbeddedError::ForeignOwner { pgdata: self.pgdata.clone(), owner, uid });
        }
        self.open_data_dir()?;
        match self.account.shut_out_of(&self.pgdata) {
            Some(folder) => Err(EmbeddedError::Unreachable { folder, uid }),
            None => Ok(()),
        }
    }

    /// An empty folder of the account's in which a new cluster is made, to be renamed to `pg` beside it:
    /// in the data folder, or where the account cannot enter that (a home with mode 0700, say) elsewhere.
    pub(super) fn nursery(&self) -> Result<PathBuf, EmbeddedError> {
        self.open_data_dir()?;
        let home = match self.account.shut_out_of(&self.data_dir) {
            None => self.data_dir.clone(),
            Some(shut) => self.elsewhere(shut)?,
        };
        let nursery = home.join("pg.new");
        match fs::remove_dir_all(&nursery) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).doing("remove", nursery),
            _ => DirBuilder::new().mode(0o700).create(&nursery).doing("make", &nursery)?,
        }
        self.account.own(&nursery)?;
        Ok(nursery)
    }

    /// Gives the finished cluster its name, at once and for good: a cluster that was being made when the
    /// power failed never looks finished.
    pub(super) fn settle(&mut self, nursery: &Path) -> Result<(), EmbeddedError> {
        let settled = nursery.with_file_name("pg");
        fs::rename(nursery, &settled).doing("rename", nursery)?;
        if settled != self.pgdata {
            std::os::unix::fs::symlink(&settled, &self.pgdata).doing("link", &self.pgdata)?;
        }
        let sync = |folder: &Path| fs::File::open(folder).and_then(|folder| folder.sync_all());
        sync(&self.data_dir).doing("write", &self.data_dir)?;
        self.check_existing()
    }

    /// Makes the folder of the socket, open to the account alone: whoever reaches the socket is the superuser.
    pub(super) fn make_runtime(&self) -> Result<(), EmbeddedError> {
        match DirBuilder::new().mode(0o700).create(&self.runtime) {
            Ok(()) => self.account.own(&self.runtime)?,
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e).doing("make", &self.runtime),
        }
        // Anyone may make a folder of this name in /tmp before us.
        let meta = fs::symlink_metadata(&self.runtime).doing("inspect", &self.runtime)?;
        let uid = self.account.uid.as_raw();
        if !meta.is_dir() || meta.uid() != uid || meta.mode() & 0o077 != 0 {
            return Err(EmbeddedError::RuntimeFolder { folder: self.runtime.clone(), uid });
        }
        Ok(())
    }

    /// Lets the account pass through Tessera's own data folder, without showing it what is there.
    fn open_data_dir(&self) -> Result<(), EmbeddedError> {
        let meta = fs::metadata(&self.data_dir).doing("inspect", &self.data_dir)?;
        if Uid::effective().is_root() && !self.account.may_enter(&meta) {
            let mode = Permissions::from_mode(meta.mode() & 0o7777 | 0o011);
            fs::set_permissions(&self.data_dir, mode).doing("change the mode of", &self.data_dir)?;
        }
        Ok(())
    }

    /// A new folder under [`ELSEWHERE`]. Never one that exists: that belongs to data that was removed or moved.
    fn elsewhere(&self, shut: PathBuf) -> Result<PathBuf, EmbeddedError> {
        let name = self.runtime.file_name().and_then(|name| name.to_str()).unwrap_or("tessera");
        fs::create_dir_all(ELSEWHERE).doing("make", ELSEWHERE)?;
        for number in 1.. {
            let folder = Path::new(ELSEWHERE).join(format!("{name}-{number}"));
            match DirBuilder::new().mode(0o711).create(&folder) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.doing("make", &folder)?;
                    let shut = shut.display();
                    tracing::warn!(folder = %folder.display(), "the database goes to another folder: uid {} cannot enter {shut}", self.account.uid);
                    return Ok(folder);
                }
            }
        }
        Err(EmbeddedError::Unreachable { folder: shut, uid: self.account.uid.as_raw() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Account = Account { uid: Uid::from_raw(54_321), gid: Gid::from_raw(54_321) };

    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("a mode");
        folder
    }

    #[test]
    fn the_outermost_closed_folder_is_named() {
        let closed = folder(0o700);
        let inner = closed.path().join("a/b");
        fs::create_dir_all(&inner).expect("folders");
        assert_eq!(STRANGER.shut_out_of(&inner).as_deref(), Some(closed.path()));
        assert_eq!(Account::current().shut_out_of(&inner), None);
        assert_eq!(STRANGER.shut_out_of(folder(0o711).path()), None);
    }

    #[test]
    fn the_socket_path_is_short_and_depends_on_the_data_folder_alone() {
        let (one, other) = (folder(0o755), folder(0o755));
        let deep = one.path().join("a-rather-long-name-of-a-folder/".repeat(9));
        let place = Place::of(&deep).expect("a place");
        assert!(place.socket().as_os_str().len() <= 107, "{}", place.socket().display());
        assert_eq!(Place::of(&deep).expect("a place").runtime, place.runtime);
        assert_ne!(Place::of(other.path()).expect("a place").runtime, place.runtime);
    }

    #[test]
    fn a_socket_folder_that_others_can_enter_is_refused() {
        let data = folder(0o755);
        let place = Place::of(data.path()).expect("a place");
        fs::create_dir(&place.runtime).expect("a squatter's folder");
        fs::set_permissions(&place.runtime, Permissions::from_mode(0o777)).expect("a mode");
        let refused = place.make_runtime();
        fs::remove_dir(&place.runtime).expect("removed");
        assert!(matches!(refused, Err(EmbeddedError::RuntimeFolder { .. })), "{refused:?}");
    }

    #[test]
    fn a_link_to_a_lost_cluster_is_no_reason_to_make_a_new_one() {
        let data = folder(0o755);
        std::os::unix::fs::symlink("/nowhere/pg", data.path().join("pg")).expect("a link");
        assert!(Place::of(data.path()).expect("a place").major().is_err());
    }
}
