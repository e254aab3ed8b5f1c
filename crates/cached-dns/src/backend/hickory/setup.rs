//! Which servers to ask, and for which names.

use std::path::PathBuf;
use std::sync::Arc;

use hickory_resolver::config::NameServerConfig;
use hickory_resolver::proto::rr::Name;

use super::builder::HickoryError;
use super::server::Server;
use super::watched::Watched;
use super::{Options, Source};
use crate::error::{LookupError, LookupErrorKind};

#[derive(Debug)]
pub(super) struct Setup {
    pub(super) servers: Vec<Arc<Server>>,
    search: Vec<Name>,
    ndots: usize,
}

#[derive(Clone, Debug)]
pub(super) struct SystemOptions {
    pub(super) port: u16,
}

/// glibc looks at 3 servers and 6 search domains; a file that names thousands is a mistake.
const MAX_SERVERS: usize = 16;
const MAX_SEARCH: usize = 32;

impl Setup {
    pub(super) fn new(
        servers: Vec<NameServerConfig>,
        search: &[String],
        ndots: usize,
        options: &Options,
    ) -> Result<Self, HickoryError> {
        let search = search
            .iter()
            .map(Name::from_ascii)
            .collect::<Result<_, _>>();
        let search = search.map_err(|error| {
            HickoryError::because("a search domain is not a domain name", error)
        })?;
        Self::of(servers, search, ndots, options)
    }

    fn of(
        servers: Vec<NameServerConfig>,
        mut search: Vec<Name>,
        ndots: usize,
        options: &Options,
    ) -> Result<Self, HickoryError> {
        search.truncate(MAX_SEARCH);
        let servers = servers.into_iter().take(MAX_SERVERS);
        let servers = servers.map(|config| Server::new(config, options).map(Arc::new));
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(HickoryError::new("there is no nameserver to ask"));
        }
        Ok(Self {
            servers,
            search,
            ndots,
        })
    }

    /// What `resolv.conf` says, now and whenever it changes.
    #[cfg(all(unix, not(any(target_os = "android", target_vendor = "apple"))))]
    pub(super) fn of_system(
        path: PathBuf,
        system: &SystemOptions,
        options: &Options,
    ) -> Result<Source<Self>, HickoryError> {
        let (system, options) = (system.clone(), options.clone());
        let parse = move |bytes: &[u8]| {
            let parsed = hickory_resolver::system_conf::parse_resolv_conf(bytes);
            let parsed = parsed.map_err(|error| HickoryError::because(UNUSABLE, error));
            parsed.and_then(|(config, opts)| Self::of_config(config, opts.ndots, &system, &options))
        };
        let file = Watched::read(path, parse)?;
        Ok(Source::File(file))
    }

    /// What the system says, once.
    #[cfg(not(all(unix, not(any(target_os = "android", target_vendor = "apple")))))]
    pub(super) fn of_system(
        _: PathBuf,
        system: &SystemOptions,
        options: &Options,
    ) -> Result<Source<Self>, HickoryError> {
        let read = hickory_resolver::system_conf::read_system_conf();
        let (config, opts) = read.map_err(|error| HickoryError::because(UNUSABLE, error))?;
        let setup = Self::of_config(config, opts.ndots, system, options)?;
        Ok(Source::Fixed(Arc::new(setup)))
    }

    fn of_config(
        config: hickory_resolver::config::ResolverConfig,
        ndots: usize,
        system: &SystemOptions,
        options: &Options,
    ) -> Result<Self, HickoryError> {
        let (domain, mut search, mut servers) = config.into_parts();
        if search.is_empty() {
            search.extend(domain);
        }
        for connection in servers
            .iter_mut()
            .flat_map(|server| &mut server.connections)
        {
            connection.port = system.port;
        }
        Self::of(servers, search, ndots, options)
    }
}

const UNUSABLE: &str = "the system's nameservers cannot be read";

/// The names that a host may stand for, in the order to try them.
pub(super) struct Candidates;

impl Candidates {
    /// A name with a trailing dot stands for itself; others as the search list says.
    pub(super) fn of(
        setup: &Setup,
        host: &str,
        absolute_names: bool,
    ) -> Result<Vec<Name>, LookupError> {
        let invalid = |error| LookupError::new(LookupErrorKind::InvalidName).with_source(error);
        let mut name = Name::from_ascii(host).map_err(invalid)?;
        let dots = host.trim_end_matches('.').matches('.').count();
        let as_it_is = name.is_fqdn() || (absolute_names && dots > 0);
        let mut names = Vec::new();
        if !as_it_is {
            let searched = setup
                .search
                .iter()
                .map(|domain| name.clone().append_domain(domain));
            // What gets too long with a domain does not exist in it.
            names.extend(searched.filter_map(Result::ok));
        }
        name.set_fqdn(true);
        let place = if dots >= setup.ndots { 0 } else { names.len() };
        names.insert(place, name);
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::super::HickoryBuilder;
    use super::*;

    fn setup(search: &[&str], ndots: usize) -> Setup {
        let search: Vec<_> = search.iter().map(|&s| s.to_owned()).collect();
        let server = super::super::server::udp_and_tcp(([127, 0, 0, 1], 53).into());
        let options = HickoryBuilder::new().options().clone();
        Setup::new(vec![server], &search, ndots, &options).unwrap()
    }

    fn names(setup: &Setup, host: &str, absolute: bool) -> Vec<String> {
        let names = Candidates::of(setup, host, absolute).unwrap();
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_search_list_goes_before_or_after_the_name_as_its_dots_say() {
        let setup = setup(&["x.test", "y.test."], 2);
        assert_eq!(names(&setup, "a", false), ["a.x.test.", "a.y.test.", "a."]);
        assert_eq!(
            names(&setup, "a.b", false),
            ["a.b.x.test.", "a.b.y.test.", "a.b."]
        );
        assert_eq!(
            names(&setup, "a.b.c", false),
            ["a.b.c.", "a.b.c.x.test.", "a.b.c.y.test."]
        );
    }

    #[test]
    fn a_trailing_dot_or_the_option_leaves_the_search_list_out() {
        let setup = setup(&["x.test"], 5);
        assert_eq!(names(&setup, "a.b.", false), ["a.b."]);
        assert_eq!(names(&setup, "a.b", true), ["a.b."]);
        assert_eq!(names(&setup, "a", true), ["a.x.test.", "a."]);
    }

    #[test]
    fn a_name_that_gets_too_long_is_left_out() {
        let setup = setup(&["x.test"], 5);
        let long = ["a".repeat(62).as_str(); 4].join(".");
        assert_eq!(names(&setup, &long, false), [format!("{long}.")]);
    }
}
