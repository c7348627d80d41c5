//! How a command ended that writes to regions.

use serde::Serialize;

/// How it ended. Each has one exit code, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// All is as it was asked for.
    Done,
    /// It was so already, and nothing was written.
    NoChange,
    /// Only the plan was asked for.
    Planned,
    /// Something speaks against it, and nothing was written.
    Refused,
    /// The command line, the catalogue or a file of the caller's is not in order, and nothing was written.
    Misconfigured,
    /// It ended in the middle.
    Incomplete,
    /// Another run is at work.
    Locked,
}

impl Ending {
    /// The exit code of the command, as in the table of exit codes.
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::NoChange | Self::Planned => 0,
            Self::Refused => 1,
            Self::Misconfigured => 2,
            Self::Incomplete => 4,
            Self::Locked => 5,
        }
    }
}
