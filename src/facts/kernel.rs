//! Which forms of `fib` the running kernel supports.

use nix::sys::utsname::uname;

/// Which forms of `fib` a kernel supports. Every kernel that palisade runs on (5.13 or newer) supports all of them at
/// the prerouting hook, and `fib ... type` at every hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `fib saddr . iif oif` at the input and forward hooks: Linux 5.19 (commit be8be04e5ddb).
    pub return_path_at_all_hooks: bool,
    /// `fib saddr oifname` there: Linux 6.10 (commit e8ded22ef0f4).
    pub routes_at_all_hooks: bool,
}

impl Kernel {
    /// Supports every form.
    pub const NEWEST: Self = Self { return_path_at_all_hooks: true, routes_at_all_hooks: true };
    /// Supports only what every kernel that palisade runs on supports.
    pub const OLDEST: Self = Self { return_path_at_all_hooks: false, routes_at_all_hooks: false };

    /// The running kernel. One without a readable release counts as the oldest.
    #[must_use]
    pub fn running() -> Self {
        uname().ok().and_then(|names| names.release().to_str().map(Self::of_release)).unwrap_or(Self::OLDEST)
    }

    /// The kernel of a release as `uname -r` prints it, for example `6.1.0-28-amd64`. A distribution may have
    /// backported more than the release says; palisade does not use what the release does not promise.
    #[must_use]
    pub fn of_release(release: &str) -> Self {
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { return_path_at_all_hooks: version >= (5, 19), routes_at_all_hooks: version >= (6, 10) }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::NEWEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_says_what_its_kernel_can_be_asked() {
        let between = Kernel { return_path_at_all_hooks: true, routes_at_all_hooks: false };
        let of = [
            ("5.13.0", Kernel::OLDEST),
            ("5.15.0-125-generic", Kernel::OLDEST),
            ("5.19.0", between),
            ("6.1.0-28-amd64", between),
            ("6.8.0-49-generic", between),
            ("6.9.12", between),
            ("6.10-rc2", Kernel::NEWEST),
            ("6.12.9+deb13-amd64", Kernel::NEWEST),
            ("7.0", Kernel::NEWEST),
            ("", Kernel::OLDEST),
            ("unknown", Kernel::OLDEST),
            ("99999999999999999999.1", Kernel::OLDEST),
        ];
        for (release, kernel) in of {
            assert_eq!(Kernel::of_release(release), kernel, "{release}");
        }
    }
}
