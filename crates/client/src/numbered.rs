//! The writes that carry a request id: what each is called, and its place in the write stream.
//!
//! Promises: one table for all of them, so that a write by itself and the same write in a stream cannot differ.
//! Left out on purpose: sending; see [`crate::once`] and [`crate::writes`].

use futures_util::FutureExt;
use quorate_api::v1;

use crate::call::Method;
use crate::wire::{ANSWER_BYTES_MAX, Wire};

/// A write of `quorate.v1` that the cluster executes at most once. Implemented for all of them; whatever its `request`
/// field holds, the client overwrites.
pub trait Numbered: prost::Message + Clone + sealed::Write {
    /// What it is answered with.
    type Answer: Send + 'static;

    /// Finds the answer in the stream's message; `None` when it answers another write.
    #[doc(hidden)]
    fn answer(answer: v1::write_response::Answer) -> Option<Self::Answer>;
}

pub(crate) mod sealed {
    use quorate_api::v1;

    /// What only this crate needs of a write.
    pub trait Write: Sized + 'static {
        /// The method's name.
        const NAME: &'static str;
        /// The write with this request id.
        fn numbered(self, id: v1::RequestId) -> Self;
        /// The write as the stream carries it.
        fn streamed(self) -> v1::write_request::Write;
    }
}

/// How a write travels by itself.
pub(crate) trait Unary: Numbered {
    const METHOD: Method<Self, Self::Answer>;
}

/// Puts a request id into a streamed write.
pub(crate) fn renumbered(write: &v1::write_request::Write, id: v1::RequestId) -> v1::write_request::Write {
    let mut write = write.clone();
    set_id(&mut write, id);
    write
}

macro_rules! writes {
    ($($request:ident -> $answer:ident, $variant:ident, $method:ident of $module:ident::$client:ident;)*) => {
        fn set_id(write: &mut v1::write_request::Write, id: v1::RequestId) {
            match write {
                $(v1::write_request::Write::$variant(write) => write.request = Some(id),)*
            }
        }

        $(
            impl Numbered for v1::$request {
                type Answer = v1::$answer;

                fn answer(answer: v1::write_response::Answer) -> Option<Self::Answer> {
                    match answer {
                        v1::write_response::Answer::$variant(answer) => Some(answer),
                        _ => None,
                    }
                }
            }

            impl sealed::Write for v1::$request {
                const NAME: &'static str = stringify!($variant);

                fn numbered(mut self, id: v1::RequestId) -> Self {
                    self.request = Some(id);
                    self
                }

                fn streamed(self) -> v1::write_request::Write {
                    v1::write_request::Write::$variant(self)
                }
            }

            impl Unary for v1::$request {
                const METHOD: Method<Self, Self::Answer> = |wire: Wire, request| {
                    async move {
                        let client = v1::$module::$client::new(wire);
                        client.max_decoding_message_size(ANSWER_BYTES_MAX).$method(request).await
                    }
                    .boxed()
                };
            }
        )*
    };
}

writes! {
    CreateDatabaseRequest -> CreateDatabaseResponse, CreateDatabase, create_database of root_client::RootClient;
    DropDatabaseRequest -> DropDatabaseResponse, DropDatabase, drop_database of root_client::RootClient;
    AlterDatabaseRequest -> AlterDatabaseResponse, AlterDatabase, alter_database of root_client::RootClient;
    CreateCollectionRequest -> CreateCollectionResponse, CreateCollection, create_collection of root_client::RootClient;
    DropCollectionRequest -> DropCollectionResponse, DropCollection, drop_collection of root_client::RootClient;
    AlterCollectionRequest -> AlterCollectionResponse, AlterCollection, alter_collection of root_client::RootClient;
    RenameCollectionRequest -> RenameCollectionResponse, RenameCollection, rename_collection of root_client::RootClient;
    CreatePartitionRequest -> CreatePartitionResponse, CreatePartition, create_partition of root_client::RootClient;
    DropPartitionRequest -> DropPartitionResponse, DropPartition, drop_partition of root_client::RootClient;
    CreateAliasRequest -> CreateAliasResponse, CreateAlias, create_alias of root_client::RootClient;
    DropAliasRequest -> DropAliasResponse, DropAlias, drop_alias of root_client::RootClient;
    AlterAliasRequest -> AlterAliasResponse, AlterAlias, alter_alias of root_client::RootClient;
    AllocateIdsRequest -> AllocateIdsResponse, AllocateIds, allocate of ids_client::IdsClient;
}
