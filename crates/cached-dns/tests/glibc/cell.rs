//! The inside of a cell: asks both resolvers for every name, side by side.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::future::join_all;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tollgate_cached_dns::{Answer, Gai, Hickory, LookupError};
use tower_service::Service;

use crate::confs::{self, Conf};
use crate::table::is_settled;
use crate::{Case, servers};

/// Names the cell's configuration.
pub(crate) const LABEL: &str = "TOLLGATE_GLIBC_CELL";
/// Begins the line of a case; the test harness prints on the same stream.
pub(crate) const MARK: &str = "case\t";

/// A busy machine makes replies late. A difference counts when it is there this often in a row.
const TRIES: usize = 3;

/// Well above the time that the slowest lookup of the grid takes to fail.
const LIMIT: Duration = Duration::from_secs(8);

pub(crate) fn run() {
    let label = std::env::var(LABEL).expect("run by the other test");
    let confs = confs::all();
    let conf = confs.iter().find(|conf| conf.label == label).unwrap();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        let _servers = servers::start().await;
        if let Some(after) = conf.replaced_by {
            let hickory = Hickory::system().unwrap();
            ask(&hickory, "s-ok.first.test").await.unwrap();
            std::fs::write("/etc/resolv.conf", after).unwrap();
            // Within this time the file is looked at again.
            sleep(Duration::from_secs(6)).await;
            cases(conf, Some(&hickory)).await;
        } else {
            cases(conf, None).await;
        }
    });
    // A thread that hangs in getaddrinfo would keep the process.
    std::process::exit(0);
}

async fn cases(conf: &Conf, hickory: Option<&Hickory>) {
    let case = async |name: String| {
        let (ours, glibc) = both(&name, hickory).await;
        Case {
            conf: conf.label,
            name,
            ours,
            glibc,
        }
    };
    let mut cases = join_all(conf.names().into_iter().map(case)).await;
    for _ in 1..TRIES {
        let open: Vec<_> = cases.iter_mut().filter(|case| !is_settled(case)).collect();
        let again = join_all(open.iter().map(|open| case(open.name.clone()))).await;
        for (case, again) in open.into_iter().zip(again) {
            *case = again;
        }
    }
    for Case {
        name, ours, glibc, ..
    } in cases
    {
        println!("\n{MARK}{name}\t{ours}\t{glibc}");
    }
}

/// Each name has resolvers of its own: what one name taught says nothing for the next.
async fn both(name: &str, hickory: Option<&Hickory>) -> (String, String) {
    let hickory = match hickory {
        Some(shared) => shared.clone(),
        None => Hickory::system().unwrap(),
    };
    let system = Gai::with_max_threads(NonZeroUsize::MAX);
    let (ours, glibc) = (ask(&hickory, name), ask(&system, name));
    let (ours, glibc) = futures_util::join!(timeout(LIMIT, ours), timeout(LIMIT, glibc));
    (text(ours), text(glibc))
}

async fn ask<S>(service: &S, name: &str) -> Result<Answer, LookupError>
where
    S: Service<Name, Response = Answer, Error = LookupError> + Clone,
{
    service.clone().call(name.parse().unwrap()).await
}

/// The addresses, or what came instead of them. Their order is the sorting of RFC 6724, which is
/// about this machine's addresses and not about names.
fn text(result: Result<Result<Answer, LookupError>, Elapsed>) -> String {
    let Ok(result) = result else {
        return "hangs".to_owned();
    };
    match result {
        Ok(answer) => {
            let ips: BTreeSet<_> = answer.addrs.iter().map(std::net::SocketAddr::ip).collect();
            let ips: Vec<_> = ips.iter().map(ToString::to_string).collect();
            ips.join(" ")
        }
        Err(error) if error.is_not_found() => "not found".to_owned(),
        Err(_) => "failed".to_owned(),
    }
}
