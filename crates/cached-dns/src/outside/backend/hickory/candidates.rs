//! The names to ask for.

use hickory_resolver::proto::rr::Name;

use super::setup::Setup;
use crate::values::error::{LookupError, LookupErrorKind};

/// The names that a host may stand for, in the order to try them.
pub(super) struct Candidates;

impl Candidates {
    /// A name with a trailing dot stands for itself; others follow the search list.
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
        // As `res_search` does: with enough dots the name itself goes first, else after the list.
        let place = if dots >= setup.ndots { 0 } else { names.len() };
        let is_barred = setup.no_tld_query && dots == 0 && !as_it_is;
        // A search domain of `.` has made it already: asked twice, it would fail twice.
        if !is_barred && !names.contains(&name) {
            names.insert(place, name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HickoryBuilder;
    use crate::outside::backend::hickory::resolv_conf::ResolvConf;
    use crate::outside::backend::hickory::server::Described;

    fn setup(search: &[&str], ndots: usize) -> Setup {
        let server = Described::Addr(([127, 0, 0, 1], 53).into());
        let text = format!("search {}\noptions ndots:{ndots}\n", search.join(" "));
        let options = HickoryBuilder::new().options().clone();
        Setup::new(vec![server], ResolvConf::parse(text.as_bytes()), &options).unwrap()
    }

    fn names(setup: &Setup, host: &str, absolute: bool) -> Vec<String> {
        let names = Candidates::of(setup, host, absolute).unwrap();
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ndots_orders_the_search_list() {
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
    fn trailing_dot_or_option_skips_the_search_list() {
        let setup = setup(&["x.test"], 5);
        assert_eq!(names(&setup, "a.b.", false), ["a.b."]);
        assert_eq!(names(&setup, "a.b", true), ["a.b."]);
        assert_eq!(names(&setup, "a", true), ["a.x.test.", "a."]);
    }

    #[test]
    fn a_candidate_of_excessive_length_is_skipped() {
        let setup = setup(&["x.test"], 5);
        let long = ["a".repeat(62).as_str(); 4].join(".");
        assert_eq!(names(&setup, &long, false), [format!("{long}.")]);
    }
}
