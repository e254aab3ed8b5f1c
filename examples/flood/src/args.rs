//! The command line.

use std::path::PathBuf;

use lexopt::prelude::{Long, Short, ValueExt};

pub(crate) const HELP: &str = "\
flood: three acts and a price, each a load through several clients in turn

  --act N       only this act (1, 2, 3; 4 is the price); may be given again
  --plot FILE   draw queue, latency and connections over time, as SVG

Everything happens on loopback, in this process, in less than 40 seconds.
The example `load` floods a server of your own.";

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    /// Numbers of acts, from 1; empty for all.
    pub(crate) acts: Vec<usize>,
    pub(crate) plot: Option<PathBuf>,
    pub(crate) help: bool,
}

impl Args {
    pub(crate) fn parse(mut parser: lexopt::Parser, acts: usize) -> Result<Self, lexopt::Error> {
        let mut args = Self::default();
        while let Some(option) = parser.next()? {
            match option {
                Long("act") => match parser.value()?.parse()? {
                    act if (1..=acts).contains(&act) => args.acts.push(act),
                    act => return Err(format!("there is no act {act}").into()),
                },
                Long("plot") => args.plot = Some(parser.value()?.into()),
                Long("help") | Short('h') => args.help = true,
                other => return Err(other.unexpected()),
            }
        }
        Ok(args)
    }

    pub(crate) fn includes(&self, act: usize) -> bool {
        self.acts.is_empty() || self.acts.contains(&act)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Args, lexopt::Error> {
        Args::parse(lexopt::Parser::from_args(args), 4)
    }

    #[test]
    fn acts_that_are_named_leave_out_the_others() {
        let args = parsed(&["--act", "2", "--plot", "out.svg"]).unwrap();
        assert_eq!((args.includes(1), args.includes(2)), (false, true));
        assert_eq!(args.plot, Some("out.svg".into()));
        assert!(parsed(&[]).unwrap().includes(4));
        assert!(parsed(&["--act", "5"]).is_err());
    }
}
