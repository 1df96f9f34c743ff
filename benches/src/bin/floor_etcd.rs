//! The floor of a call on etcd: a process connects, puts one key, and ends.
//!
//! `floor_etcd URL KEY`

use std::error::Error;

use etcd_client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [url, key] = args.as_slice() else {
        return Err("usage: floor_etcd URL KEY".into());
    };
    let mut client = Client::connect([url], None).await?;
    client.put(key.as_str(), [b' '; 400], None).await?;
    Ok(())
}
