// The contract between the actors: every message type and every typed interface, in one place.
//
// How data moves (per pipeline):
//
//   session --burst--> ingestor --attach--------------> batch-writer   of each lane; and again after a silence
//                      ingestor <--held (demand)------- batch-writer   once the database is open
//                      ingestor --write (frame)-------> batch-writer   spends demand; a frame for each lane of a chunk
//                      ingestor <--batch_committed----- batch-writer   after the commit: acknowledges, and more demand
//   session <-release- ingestor
//
// Between nodes a frame goes without its rows' messages. Where the database refuses a row, the batch-writer asks for
// them (docs/decisions/0021-a-link-carries-rows-without-their-messages.md):
//
//                      ingestor <--whole--------------- batch-writer   of a chunk
//                      ingestor --write (frame)-------> batch-writer   the same once more, with them
//
// Before it opens a session, an ingestor has it recorded by the batch-writer of lane 0, and learns what former
// generations of it were subscribed to; so that no session is ever forgotten at a broker
// (docs/decisions/0020-sessions-are-remembered-and-retired.md):
//
//                      ingestor --enlist--------------> batch-writer
//                      ingestor <--session_record------ batch-writer   it is committed: the session may subscribe
//   session --settled-> ingestor --settle-------------> batch-writer   SUBACK and UNSUBACK have come
//
// The ingestor that retires sessions asks for all of them (`sessions`), and when one is drained and ended, it settles.
//
// A batch-writer that is to end asks its ingestors to detach; they answer, and each waits for what is on its way:
//
//                      ingestor <--detach-------------- batch-writer
//                      ingestor --detach--------------> batch-writer
//
// And the other way:
//
//   publisher --attach---------------------> poller      of each shard
//   publisher <--adopted-------------------- poller      it owns the shard: a session may be made
//   publisher --dial-----------------------> poller      before every CONNECT
//   publisher <--dial----------------------- poller      the shard is still its own
//   publisher --connected (the demand)-----> poller      after every CONNACK
//   publisher <--resume--------------------- poller      the open claims of a former session
//   publisher <--publish-------------------- poller      claims that are committed
//   publisher --answers--------------------> poller      PUBREC, and the end of handshakes
//   publisher <--release-------------------- poller      their release is committed: PUBREL
//   publisher --detach---------------------> poller      it is to end: the shard is to be another's
//   publisher <--adopted (nothing)---------- poller      nothing is in flight any more
//
// Between nodes, from agent to agent (what an ingestor and a batch-writer say, they say directly, wherever they are):
//
//   agent --hello--> agent          and its own hello as the answer: from then on there is a link
//   agent --lane_writer--> agent    a batch-writer lives here
//   agent --wake--> agent           a shard is nobody's now: your membership need not wait for its next renewal
//
// Nothing floating-point travels in a message (CAF 0.17 hangs on infinity): it is in frames. What travels between nodes
// never changes its fields, since CAF drops what it cannot read: what is new is a new type, sent only to nodes whose
// `hello` says that they know it (docs/decisions/0017-links-between-nodes.md).
#pragma once

#include "core/session_record.hpp"
#include "messages/caf_compat.hpp"
#include "messages/frame.hpp"

#include <caf/meta/type_name.hpp>
#include <caf/unit.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace penstock {

template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_record& x) {
  return f(caf::meta::type_name("penstock::session_record"), x.client_id, x.broker, x.pipeline, x.shard, x.table,
           x.filters, x.epoch, x.settled);
}

} // namespace penstock

namespace penstock::messages {

/// The number of records that a lane's batch-writer is ready to take, in addition to what it asked for before.
struct demand {
  std::uint32_t lane = 0;
  std::uint32_t records = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, demand& x) {
  return f(caf::meta::type_name("penstock::demand"), x.lane, x.records);
}

/// The answer to an attach without a number, and the first demand. `installation` is the id that client ids are made
/// of.
struct attached {
  std::uint32_t lane = 0;
  std::string installation;
  std::uint32_t records = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, attached& x) {
  return f(caf::meta::type_name("penstock::attached"), x.lane, x.installation, x.records);
}

/// The answer to an attach of that number: what is demanded, and what is here of the ingestor and will be answered.
/// What else it has sent before is lost, or its answer is.
struct held {
  attached answer;
  std::uint64_t attach = 0;
  std::vector<std::uint64_t> chunks;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, held& x) {
  return f(caf::meta::type_name("penstock::held"), x.answer, x.attach, x.chunks);
}

/// A frame is committed: this lane's part of the chunk may be acknowledged.
struct committed {
  std::uint32_t lane = 0;
  std::uint64_t chunk = 0;
  std::uint32_t stored = 0;
  std::uint32_t duplicate = 0;
  std::uint32_t dead_lettered = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, committed& x) {
  return f(caf::meta::type_name("penstock::committed"), x.lane, x.chunk, x.stored, x.duplicate, x.dead_lettered);
}

/// What one commit wrote of an ingestor's frames, in the order in which they were sent, and what is asked for again.
struct batch_committed {
  std::vector<committed> frames;
  demand more;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, batch_committed& x) {
  return f(caf::meta::type_name("penstock::batch_committed"), x.frames, x.more);
}

/// All that is recorded of sessions in the pipeline's database.
struct session_list {
  std::vector<session_record> sessions;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, session_list& x) {
  return f(caf::meta::type_name("penstock::session_list"), x.sessions);
}

/// The poller owns the shard: a session may be made. What there is of a former one is void. `incarnation` numbers the
/// sessions: what a publisher says of another one is not heard any more. Without an installation: it may not be made.
struct adopted {
  std::string installation;
  std::uint64_t incarnation = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, adopted& x) {
  return f(caf::meta::type_name("penstock::adopted"), x.installation, x.incarnation);
}

/// Who tells the poller something.
struct shard_session {
  std::uint32_t shard = 0;
  std::uint64_t incarnation = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, shard_session& x) {
  return f(caf::meta::type_name("penstock::shard_session"), x.shard, x.incarnation);
}

/// A CONNACK. `window`: the messages that may be in flight, which is the shard's demand.
struct connected {
  shard_session from;
  bool session_present = false;
  bool resumed = false; ///< the session has its handshakes itself
  std::uint32_t window = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, connected& x) {
  return f(caf::meta::type_name("penstock::connected"), x.from, x.session_present, x.resumed, x.window);
}

/// Raised by every change of what nodes say to each other; and the oldest version that this one can work with.
/// 1: hello, lane_writer. 2: wake. 3: enlist, settle, sessions. 4: frames without messages, whole. 5: attach with the
/// version, batch_committed; before, `committed` of each frame and then `demand`. 6: attach and write with numbers,
/// held.
inline constexpr std::uint16_t link_version = 6;
inline constexpr std::uint16_t link_version_oldest = 1;
inline constexpr std::uint16_t batches_version = 5; ///< the first that knows `batch_committed`
inline constexpr std::uint16_t held_version = 6;    ///< the first that knows `held`

/// How nodes introduce themselves.
struct hello {
  std::string cluster;
  std::string node;
  std::string instance; ///< of the process
  std::uint16_t version = link_version;
  std::uint16_t version_oldest = link_version_oldest;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, hello& x) {
  return f(caf::meta::type_name("penstock::hello"), x.cluster, x.node, x.instance, x.version, x.version_oldest);
}

/// The batch-writer of a lane lives at the node that says so, which owns the lane with this epoch.
struct lane_writer {
  std::string pipeline;
  std::uint32_t lane = 0;
  std::uint64_t epoch = 0;
  caf::strong_actor_ptr writer;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, lane_writer& x) {
  return f(caf::meta::type_name("penstock::lane_writer"), x.pipeline, x.lane, x.epoch, x.writer);
}

/// What the agent is to know of the cluster: from the state database, as a whole, each time.
struct neighbours {
  struct peer {
    std::string name;
    std::string instance;
    std::string host; ///< of its links
    std::uint16_t port = 0;
    friend bool operator==(const peer&, const peer&) = default;
  };
  std::vector<peer> peers;                                            ///< the other living nodes that take links
  std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> own; ///< epochs of the lanes that this node owns
};
using neighbours_ptr = std::shared_ptr<const neighbours>; ///< never leaves the process

} // namespace penstock::messages

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::neighbours_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::burst_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::connection_state_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::completions_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::publications_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::resumptions_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(penstock::messages::packet_ids_ptr)

CAF_BEGIN_TYPE_ID_BLOCK(penstock, caf::first_custom_type_id)
CAF_ADD_TYPE_ID(penstock, (penstock::record::frame))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::demand))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::attached))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::held))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::committed))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::batch_committed))
CAF_ADD_TYPE_ID(penstock, (penstock::session_record))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::session_list))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::adopted))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::shard_session))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::connected))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::hello))
CAF_ADD_TYPE_ID(penstock, (penstock::messages::lane_writer))
CAF_ADD_ATOM(penstock, penstock::messages, attach_atom, "attach")
CAF_ADD_ATOM(penstock, penstock::messages, detach_atom, "detach")
CAF_ADD_ATOM(penstock, penstock::messages, started_atom, "started")
CAF_ADD_ATOM(penstock, penstock::messages, write_atom, "write")
CAF_ADD_ATOM(penstock, penstock::messages, writer_atom, "writer")
CAF_ADD_ATOM(penstock, penstock::messages, poller_atom, "poller")
CAF_ADD_ATOM(penstock, penstock::messages, dial_atom, "dial")
CAF_ADD_ATOM(penstock, penstock::messages, down_atom, "down")
CAF_ADD_ATOM(penstock, penstock::messages, step_atom, "step")
CAF_ADD_ATOM(penstock, penstock::messages, wake_atom, "wake")
CAF_ADD_ATOM(penstock, penstock::messages, commit_atom, "commit")
CAF_ADD_ATOM(penstock, penstock::messages, retry_atom, "retry")
CAF_ADD_ATOM(penstock, penstock::messages, check_atom, "check")
CAF_ADD_ATOM(penstock, penstock::messages, closed_atom, "closed")
CAF_ADD_ATOM(penstock, penstock::messages, pause_atom, "pause")
CAF_ADD_ATOM(penstock, penstock::messages, paused_atom, "paused")
CAF_ADD_ATOM(penstock, penstock::messages, resume_atom, "resume")
CAF_ADD_ATOM(penstock, penstock::messages, restart_atom, "restart")
CAF_ADD_ATOM(penstock, penstock::messages, kill_atom, "kill")
CAF_ADD_ATOM(penstock, penstock::messages, command_atom, "command")
CAF_ADD_ATOM(penstock, penstock::messages, retain_atom, "retain")
CAF_ADD_ATOM(penstock, penstock::messages, enlist_atom, "enlist")
CAF_ADD_ATOM(penstock, penstock::messages, settle_atom, "settle")
CAF_ADD_ATOM(penstock, penstock::messages, sessions_atom, "sessions")
CAF_ADD_ATOM(penstock, penstock::messages, settled_atom, "settled")
CAF_ADD_ATOM(penstock, penstock::messages, drained_atom, "drained")
CAF_ADD_ATOM(penstock, penstock::messages, whole_atom, "whole")
CAF_ADD_ATOM(penstock, penstock::messages, send_atom, "send")
CAF_END_TYPE_ID_BLOCK(penstock)

namespace penstock::messages {

/// Owns one shard's MQTT session; decodes, spends demand, releases acknowledgements. Does what an actor is told to do
/// at its end too: on an exit message it stops reading, flushes, acknowledges, disconnects, and quits.
using ingestor_actor = caf::typed_actor<reacts<demand>,               // from the batch-writer
                                        reacts<attached>,             // from the batch-writer
                                        reacts<held>,                 // from the batch-writer
                                        reacts<committed>,            // from the batch-writer
                                        reacts<batch_committed>,      // from the batch-writer
                                        reacts<burst_ptr>,            // from the session
                                        reacts<send_atom>,            // from itself, behind bursts
                                        reacts<connection_state_ptr>, // from the session
                                        // from the supervisor, or the agent: a lane has a new batch-writer, at a
                                        // node of that link version
                                        reacts<writer_atom, std::uint32_t, caf::strong_actor_ptr, std::uint16_t>,
                                        reacts<session_record>, // from lane 0's batch-writer: it is enlisted
                                        reacts<session_list>,   // from lane 0's batch-writer
                                        reacts<settled_atom, std::string>, reacts<drained_atom>, // from the session
                                        reacts<detach_atom, std::uint32_t>, // from the batch-writer: it would end
                                        // from the batch-writer of that lane: the chunk's frame, with its messages
                                        reacts<whole_atom, std::uint32_t, std::uint64_t>, reacts<pause_atom>,
                                        reacts<resume_atom>,                      // from the control topic
                                        reacts<paused_atom>, reacts<closed_atom>, // its own: the end of the session
                                        reacts<step_atom, std::uint64_t>, reacts<check_atom>>; // its own

/// Owns one lane of a pipeline and one connection to the database; commits what is there as soon as it is free.
/// Detached.
using batch_writer_actor =
  // `layout` (actors/layout.hpp) of the ingestor's frames, the link version of its node (without: one that knows no
  // `batch_committed`), and the number of the attach, which rises; answered by `held` (without a number: by
  // `attached`), once the database is open
  caf::typed_actor<reacts<attach_atom, ingestor_actor, std::uint64_t>,
                   reacts<attach_atom, ingestor_actor, std::uint64_t, std::uint16_t>,
                   reacts<attach_atom, ingestor_actor, std::uint64_t, std::uint16_t, std::uint64_t>,
                   reacts<detach_atom, ingestor_actor>, // it sends no more frames
                   // Answered by `batch_committed`. With the number of the attach, and that of the frame behind it,
                   // from 0: what does not come next is not taken, since something before it was lost. Without: from a
                   // node that knows no `held`, or what `whole` has asked for.
                   reacts<write_atom, record::frame, ingestor_actor, std::uint64_t, std::uint64_t>,
                   reacts<write_atom, record::frame, ingestor_actor>,
                   // Of sessions (storage/store.hpp). The first and the last are answered by what they ask for.
                   reacts<enlist_atom, session_record, ingestor_actor>, reacts<settle_atom, session_record>,
                   reacts<sessions_atom, ingestor_actor>, reacts<commit_atom>, reacts<retry_atom>,
                   reacts<check_atom>>; // its own

/// Owns one publish shard's MQTT session. Sends what the poller has claimed, and tells it what the broker answers.
using publisher_actor =
  caf::typed_actor<reacts<poller_atom, caf::strong_actor_ptr>, // from the supervisor: there is a new poller
                   reacts<adopted>, reacts<dial_atom>,         // from the poller
                   reacts<resumptions_ptr>, reacts<publications_ptr>, reacts<packet_ids_ptr>, // from the poller
                   // from the session, with its incarnation: it would dial, its connection, the broker's answers
                   reacts<wake_atom, std::uint64_t>, reacts<std::uint64_t, connection_state_ptr>,
                   reacts<std::uint64_t, completions_ptr>, reacts<closed_atom>>;

/// Finds new rows of a publish pipeline's table, claims them for its shards, and records what became of them. Owns two
/// connections: one reads the source, one writes the tracking table. Detached.
using poller_actor =
  caf::typed_actor<reacts<attach_atom, std::uint32_t, publisher_actor>,
                   reacts<detach_atom, std::uint32_t, publisher_actor>, reacts<dial_atom, shard_session>,
                   reacts<connected>, reacts<down_atom, shard_session>, // its session is cut
                   reacts<shard_session, completions_ptr>,
                   reacts<wake_atom>, // the database says that something has changed
                   reacts<pause_atom>, reacts<resume_atom>, reacts<step_atom, std::uint64_t>>; // its own

/// Deletes what is older than a pipeline keeps. Owns one connection to the database. Detached.
using archiver_actor = caf::typed_actor<reacts<check_atom>>; // its own

/// Looks at the board and tells what the alert rules ask for.
using alerter_actor = caf::typed_actor<reacts<check_atom>>; // its own

/// Keeps this process a member of the cluster (cluster/membership.hpp). Owns a connection to the state database.
/// Detached.
using membership_actor = caf::typed_actor<reacts<wake_atom>, // somebody says that there is something to be taken
                                          reacts<detach_atom, std::string, std::uint32_t>, // a shard has stopped
                                          reacts<check_atom, std::uint64_t>>;              // its own

/// The one of a node that speaks with the agents of the others: keeps the links, and makes batch-writers known over
/// them.
using agent_actor =
  caf::typed_actor<reacts<neighbours_ptr>, // from the membership, each time that it has renewed its lease
                   reacts<started_atom, std::string, caf::strong_actor_ptr>, // from a supervisor: a child, by its name
                   reacts<detach_atom>, // from the membership: a shard was released, for a peer to take
                   answers<hello, hello>, reacts<lane_writer>, reacts<wake_atom>,       // from other agents
                   reacts<retry_atom>, reacts<retry_atom, std::string, std::uint64_t>>; // its own

} // namespace penstock::messages

// Handles that travel between nodes.
CAF_BEGIN_TYPE_ID_BLOCK(penstock_handles, caf::id_block::penstock::end)
CAF_ADD_TYPE_ID(penstock_handles, (penstock::messages::ingestor_actor))
CAF_END_TYPE_ID_BLOCK(penstock_handles)

namespace penstock::messages {

/// Registers every message type. Call it in the constructor of the system's configuration.
inline void add_to(caf::actor_system_config& config) {
  config.add_message_types<caf::id_block::penstock>();
  config.add_message_types<caf::id_block::penstock_handles>();
}

} // namespace penstock::messages
