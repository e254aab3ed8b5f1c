//! Fills in the table and prints it.

use std::time::Duration;

use futures_util::future::join_all;
use tollgate_core::BoxError;

use crate::resolver::Column;
use crate::{Row, namespace};

const HEADS: [&str; 3] = [
    "tollgate-cached-dns",
    "hickory-resolver 0.26",
    "getaddrinfo",
];

pub(crate) async fn print(limit: Duration) -> Result<(), BoxError> {
    let mut columns = vec![vec![String::new(), String::new()]];
    columns[0].extend(Row::ALL.iter().map(|row| row.label().to_owned()));
    let cells = cells(limit).await?;
    for (head, cells) in HEADS.iter().zip(cells) {
        columns.push(
            [(*head).to_owned(), String::new()]
                .into_iter()
                .chain(cells)
                .collect(),
        );
    }
    for column in &mut columns {
        let width = column.iter().map(String::len).max().unwrap_or_default();
        column[1] = "-".repeat(width);
        for cell in column {
            *cell = format!("{cell:width$}");
        }
    }
    for line in 0..columns[0].len() {
        let cells: Vec<&str> = columns.iter().map(|column| column[line].as_str()).collect();
        println!("| {} |", cells.join(" | "));
    }
    Ok(())
}

/// The columns. Ours is measured first, by itself: it is quick, and what is quick is disturbed by
/// what is slow. The cells of the others run side by side.
async fn cells(limit: Duration) -> Result<[Vec<String>; 3], BoxError> {
    let mut ours = Vec::new();
    for row in Row::ALL {
        ours.push(row.run(Column::Ours, limit).await?);
    }
    let hickory = join_all(Row::ALL.map(|row| row.run(Column::Hickory, limit)));
    let system = join_all(Row::ALL.map(|row| namespace::cell(row, limit)));
    let (hickory, system) = tokio::join!(hickory, system);
    let hickory = hickory.into_iter().collect::<Result<_, _>>()?;
    Ok([ours, hickory, system])
}
