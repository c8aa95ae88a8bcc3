//! The types of the acceptance program's data.

use serde::{Deserialize, Serialize};

/// Part of the session's data as a type of the application's.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Cart {
    /// The things in the cart.
    #[serde(default)]
    pub items: Vec<String>,
    /// A word to the seller.
    #[serde(default)]
    pub note: Option<String>,
}

/// The fields of a form besides its token.
#[derive(Deserialize)]
pub struct Payment {
    /// The sum.
    pub amount: u64,
    /// A word to the payee.
    #[serde(default)]
    pub note: String,
}
