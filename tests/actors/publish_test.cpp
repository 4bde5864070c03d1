#include "tests/support/publish_fixture.hpp"

#include <gmock/gmock.h>

namespace penstock::actors {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace {

using publish_test = testing::publish_fixture;

} // namespace

TEST_F(publish_test, dials_only_when_the_shard_is_owned) {
  records->open_failure = error{errc::connection_refused, "away"};
  spawn_poller();
  spawn_publisher();
  EXPECT_FALSE(script->open);
  records->open_failure.reset();
  pass(10s);
  EXPECT_TRUE(script->dialled);
  EXPECT_EQ(records->shards.at(0).epoch, 1u);
}

TEST_F(publish_test, a_row_is_claimed_published_released_and_sent) {
  begin();
  rows(1, 1);
  pass(200ms);
  ASSERT_THAT(script->published, SizeIs(1));
  EXPECT_EQ(script->published[0].topic, "t/m");
  EXPECT_EQ(script->published[0].payload, "payload 1");
  EXPECT_EQ(script->published[0].message_id, "p/1");
  EXPECT_EQ(script->published[0].qos, 2);
  EXPECT_NE(script->published[0].packet_id, 0);
  EXPECT_EQ(records->count("claimed"), 1u);
  EXPECT_THAT(script->released, IsEmpty());
  script->received(1);
  settle();
  EXPECT_THAT(script->released, ElementsAre(script->published[0].packet_id));
  EXPECT_EQ(records->shards.at(0).released_seq, 1u);
  script->done(1);
  settle();
  EXPECT_EQ(records->count("sent"), 1u);
  const auto now = status();
  EXPECT_EQ(now.account.sent, 1u);
  EXPECT_EQ(now.account.in_flight, 0u);
  EXPECT_TRUE(now.account.balanced());
}

TEST_F(publish_test, nothing_is_published_whose_claim_is_not_committed) {
  begin();
  rows(1, 3);
  records->commit_failure = error{errc::database_busy, "locked"};
  pass(5s);
  EXPECT_THAT(script->published, IsEmpty());
  EXPECT_EQ(status().state, telemetry::writer_state::waiting);
  records->commit_failure.reset();
  pass(10s);
  script->connect(true);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3"));
}

TEST_F(publish_test, nothing_is_released_whose_release_is_not_committed) {
  begin();
  rows(1, 1);
  pass(200ms);
  records->commit_failure = error{errc::connection_lost, "gone"};
  script->received(1);
  pass(5s);
  EXPECT_THAT(script->released, IsEmpty());
}

TEST_F(publish_test, no_more_is_claimed_than_the_window_allows) {
  rows(1, 50);
  begin(false, 4);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3", "4"));
  EXPECT_EQ(records->records.size(), 4u);
  script->received(1);
  script->received(2);
  settle();
  EXPECT_THAT(script->published, SizeIs(4));
  script->done(1);
  settle();
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3", "4", "5"));
}

TEST_F(publish_test, no_more_is_read_than_fits_into_memory) {
  bytes_max = 2'000;
  table->padding = 1'000;
  begin(false, 100);
  rows(1, 1);
  pass(200ms);
  rows(2, 20);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "3", "4"));
  for (std::uint64_t seq = 1; seq <= 4; ++seq)
    script->done(seq);
  pass(1s);
  EXPECT_THAT(script->published, SizeIs(8));
  for (std::uint64_t seq = 5; seq <= 20; ++seq) {
    script->done(seq);
    pass(200ms);
  }
  EXPECT_EQ(records->count("sent"), 20u);
}

TEST_F(publish_test, a_packet_id_is_used_again_only_after_sent_is_committed) {
  pipeline.in_flight_max = 1;
  rows(1, 2);
  begin(false, 10);
  pass(200ms);
  ASSERT_THAT(published_ids(), ElementsAre("1"));
  script->received(1);
  settle();
  records->commit_failure = error{errc::connection_lost, "gone"};
  script->done(1);
  pass(300ms);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
}

TEST_F(publish_test, a_new_process_goes_on_where_the_former_one_was) {
  begin();
  rows(1, 3);
  pass(200ms);
  script->received(1);
  settle(); // released
  script->received(2);
  script->received(3);
  // Before their release is committed the process ends.
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
  publishers.clear();
  settle();
  script->published.clear();
  rows(4, 4);
  begin(true);
  ASSERT_THAT(script->resumed, SizeIs(3));
  EXPECT_EQ(script->resumed[0].state, mqtt::resumed_state::released);
  EXPECT_EQ(script->resumed[1].state, mqtt::resumed_state::published);
  EXPECT_EQ(script->resumed[1].message.payload, "payload 2");
  EXPECT_EQ(script->resumed[2].message.token, 3u);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("4"));
  EXPECT_TRUE(status().account.balanced());
  EXPECT_EQ(status().account.in_flight, 4u);
}

TEST_F(publish_test, a_new_process_reads_nothing_again_that_is_done_with) {
  begin();
  rows(1, 3);
  pass(200ms);
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    script->received(seq);
    settle();
    script->done(seq);
    settle();
  }
  pass(3s);
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
  publishers.clear();
  settle();
  const auto avoided = status().repeats_avoided;
  begin(true);
  rows(4, 4);
  pass(200ms);
  EXPECT_EQ(status().repeats_avoided, avoided);
}

TEST_F(publish_test, a_process_that_ends_before_it_is_connected_loses_nothing_of_the_former_one) {
  begin();
  rows(1, 3);
  pass(200ms);
  for (int process = 0; process < 2; ++process) {
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
    publishers.clear();
    settle();
    spawn_poller();
    spawn_publisher(); // dials, and is never connected
    pass(5s);
  }
  script->connect(true);
  settle();
  EXPECT_THAT(script->resumed, SizeIs(3));
}

TEST_F(publish_test, a_new_publisher_resumes_what_its_predecessor_had_open) {
  begin();
  rows(1, 2);
  pass(200ms);
  script->received(1);
  settle();
  caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
  publishers.clear();
  settle();
  EXPECT_FALSE(script->open);
  spawn_publisher();
  EXPECT_TRUE(script->dialled);
  script->connect(true);
  settle();
  ASSERT_THAT(script->resumed, SizeIs(2));
  EXPECT_EQ(script->resumed[0].state, mqtt::resumed_state::released);
  EXPECT_EQ(script->resumed[1].state, mqtt::resumed_state::published);
  script->done(1);
  script->received(2);
  script->done(2);
  settle();
  EXPECT_EQ(records->count("sent"), 2u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, a_new_poller_cuts_the_sessions_of_the_former_one) {
  begin();
  rows(1, 1);
  pass(200ms);
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  settle();
  EXPECT_FALSE(script->open);
  spawn_poller();
  EXPECT_TRUE(script->dialled);
  EXPECT_EQ(records->shards.at(0).epoch, 2u);
  script->connect(true);
  settle();
  EXPECT_THAT(script->resumed, SizeIs(1));
}

TEST_F(publish_test, a_connection_is_made_anew_only_after_the_epoch_was_checked) {
  begin();
  script->disconnect();
  settle();
  records->shards.at(0).epoch = 7; // a successor
  script->ask_to_dial();
  settle();
  EXPECT_FALSE(script->dialled);
  EXPECT_FALSE(script->open);
  EXPECT_EQ(status().state, telemetry::writer_state::stopped);
  EXPECT_THAT(status().reason, HasSubstr("another process"));
}

TEST_F(publish_test, after_a_connack_nothing_goes_on_before_the_epoch_was_checked) {
  begin();
  rows(1, 1);
  pass(200ms);
  const auto before = script->proceeded;
  script->disconnect();
  script->ask_to_dial();
  settle();
  ASSERT_TRUE(script->dialled);
  records->shards.at(0).epoch = 7;
  script->connect(true);
  settle();
  EXPECT_EQ(script->proceeded, before);
  EXPECT_FALSE(script->open);
}

TEST_F(publish_test, claims_of_a_successor_are_not_resumed) {
  begin();
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  settle();
  spawn_poller();
  ASSERT_TRUE(script->dialled);
  storage::claimed_record claim; // behind the check of the epoch, before the claims are read
  claim.record_id = "99";
  claim.seq = 50;
  claim.packet_id = 9;
  records->records["99/"] = {claim, "claimed", 7};
  script->connect(true);
  settle();
  EXPECT_FALSE(script->open);
  EXPECT_THAT(status().reason, HasSubstr("another process"));
}

TEST_F(publish_test, a_fenced_poller_takes_over_when_its_successor_is_silent) {
  begin();
  records->shards.at(0).epoch = 7;
  rows(1, 1);
  pass(1s);
  EXPECT_FALSE(script->open);
  for (int second = 0; second < 40; ++second) {
    ++records->beats; // the successor lives
    pass(1s);
  }
  EXPECT_FALSE(script->open);
  EXPECT_EQ(records->shards.at(0).epoch, 7u);
  pass(30s);
  EXPECT_TRUE(script->open);
  EXPECT_EQ(records->shards.at(0).epoch, 8u);
}

TEST_F(publish_test, a_lost_session_of_a_former_process_is_resent_or_held) {
  for (const auto rule : {config::lost_session_rule::resend, config::lost_session_rule::hold}) {
    records->records.clear();
    records->shards.clear();
    table->rows.clear();
    script->published.clear();
    pipeline.on_lost_session = rule;
    begin();
    rows(1, 2);
    pass(200ms);
    script->received(1);
    settle();
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
    publishers.clear();
    settle();
    script->published.clear();
    begin(false);
    pass(200ms);
    EXPECT_THAT(script->resumed, IsEmpty());
    EXPECT_EQ(records->records.at("1/").state, "sent"); // it was released
    if (rule == config::lost_session_rule::resend) {
      ASSERT_THAT(published_ids(), ElementsAre("2"));
      EXPECT_EQ(script->published[0].token, 3u);
      EXPECT_EQ(script->published[0].payload, "payload 2");
    } else {
      EXPECT_THAT(script->published, IsEmpty());
      EXPECT_EQ(records->records.at("2/").state, "held");
    }
    EXPECT_TRUE(status().account.balanced());
    EXPECT_GE(status().shards[0].connection.sessions_lost, 1u);
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
    publishers.clear();
    settle();
  }
}

TEST_F(publish_test, what_the_session_reports_as_unknown_is_sent_again_behind_the_watermark) {
  begin();
  rows(1, 1);
  pass(200ms);
  script->received(1);
  settle();
  EXPECT_EQ(records->shards.at(0).released_seq, 1u);
  script->done(1, 0x92);
  settle();
  ASSERT_THAT(published_ids(), ElementsAre("1", "1"));
  EXPECT_GT(script->published[1].token, records->shards.at(0).released_seq);
  EXPECT_EQ(records->count("claimed"), 1u);
  script->received(script->published[1].token);
  settle();
  script->done(script->published[1].token);
  settle();
  EXPECT_EQ(records->count("sent"), 1u);
  EXPECT_EQ(status().reclaimed, 1u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, a_refused_message_holds_nothing_up) {
  begin();
  rows(1, 2);
  pass(200ms);
  script->done(1, 0x87);
  script->received(2);
  settle();
  EXPECT_EQ(records->records.at("1/").state, "refused");
  EXPECT_THAT(script->released, SizeIs(1));
  script->done(2);
  settle();
  EXPECT_EQ(records->records.at("2/").state, "sent");
  EXPECT_EQ(status().account.refused, 1u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, a_full_broker_is_tried_again_and_then_given_up) {
  pipeline.retries_max = 2;
  begin();
  rows(1, 1);
  pass(200ms);
  for (std::uint64_t attempt = 1; attempt <= 3; ++attempt) {
    ASSERT_THAT(script->published, SizeIs(attempt));
    script->done(script->published.back().token, 0x97);
    settle();
  }
  EXPECT_THAT(script->published, SizeIs(3));
  EXPECT_EQ(records->count("refused"), 1u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, a_row_that_no_topic_fits_is_refused_at_once) {
  begin();
  rows(1, 1, "bad");
  rows(2, 2);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("2"));
  EXPECT_EQ(records->count("refused"), 1u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, a_row_that_the_tracking_database_does_not_take_is_refused_and_holds_nothing_up) {
  records->takes = [](const auto& claim) { return claim.payload.size() <= std::string{"payload 99"}.size(); };
  begin();
  const auto opened = records->opened;
  rows(98, 101);
  rows(102, 102, "bad");
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("98", "99"));
  EXPECT_EQ(records->count("refused"), 3u);
  const auto& refused = records->records.at("100/").claim;
  EXPECT_EQ(refused.payload, "");
  EXPECT_THAT(refused.reason, HasSubstr("does not take it: payload_too_large: a payload of 11 bytes"));
  EXPECT_THAT(records->records.at("102/").claim.reason, HasSubstr("a payload of 11 bytes"));
  script->done(1);
  script->done(2);
  settle();
  EXPECT_EQ(records->count("sent"), 2u);
  EXPECT_EQ(status().account.refused, 3u);
  EXPECT_TRUE(status().account.balanced());
  EXPECT_EQ(records->opened, opened) << "it has not started over";
  pass(20s); // the sweep goes round
  EXPECT_THAT(script->published, SizeIs(2));
}

TEST_F(publish_test, a_database_that_refuses_everything_is_asked_less_and_less_often) {
  begin();
  rows(1, 1);
  records->claims_failure = error{errc::row_refused, "a trigger's"};
  const auto opened = records->opened;
  for (int times = 0; times < 600; ++times) {
    pass(100ms);
    if (script->open && script->dialled)
      script->connect(true);
  }
  EXPECT_GT(records->opened, opened + 5);
  EXPECT_LT(records->opened, opened + 40);
  EXPECT_EQ(status().state, telemetry::writer_state::waiting);
}

TEST_F(publish_test, what_is_to_be_sent_again_is_claimed_anew_at_once) {
  pipeline.detect.sweep = 0ms; // which would find it too
  begin();
  rows(1, 3);
  table->rows[2] = "bad";
  pass(200ms);
  ASSERT_EQ(records->records.at("2/").state, "refused");
  table->rows[2] = "good";
  records->records.erase("2/");
  records->retries = {"2", "3", "9"};
  pass(2s);
  ASSERT_THAT(published_ids(), ElementsAre("1", "3", "2"));
  EXPECT_THAT(records->retries, IsEmpty()); // 3 is in flight, and 9 is no row
  pass(10s);
  EXPECT_THAT(script->published, SizeIs(3));
}

TEST_F(publish_test, what_is_to_be_sent_again_waits_for_its_claim) {
  pipeline.detect.sweep = 0ms;
  begin(false, 1);
  rows(1, 1);
  pass(200ms);
  table->rows[0] = "m";
  records->retries = {"0"};
  pass(5s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
  EXPECT_THAT(records->retries, ElementsAre("0"));
  script->received(1);
  script->done(1);
  pass(2s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "0"));
  EXPECT_THAT(records->retries, IsEmpty());
}

TEST_F(publish_test, rows_that_become_visible_late_are_found_and_nothing_is_published_twice) {
  begin();
  rows(1, 2);
  rows(5, 6);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "5", "6"));
  rows(3, 3);
  pass(200ms);
  rows(4, 4);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2", "5", "6", "3", "4"));
  EXPECT_EQ(status().found_late, 2u);
}

TEST_F(publish_test, the_sweep_finds_what_came_after_late_for) {
  pipeline.detect.late_for = 1s;
  begin();
  rows(1, 1);
  rows(3, 3);
  pass(3s);
  rows(2, 2);
  pass(5s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "3", "2"));
  EXPECT_EQ(status().gaps_given_up, 1u);
}

TEST_F(publish_test, rows_in_memory_are_read_again_by_a_new_process) {
  rows(1, 20);
  begin(false, 4); // reads more than it claims? at most one read
  pass(200ms);
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
  publishers.clear();
  settle();
  begin(true, 100);
  pass(1s);
  for (const auto& each : script->resumed)
    script->published.push_back(each.message);
  auto ids = published_ids();
  EXPECT_EQ((std::set<std::string>{ids.begin(), ids.end()}).size(), 20u);
  EXPECT_EQ(records->records.size(), 20u);
}

TEST_F(publish_test, start_now_leaves_the_rows_that_are_there) {
  pipeline.start = config::publish_start::now;
  rows(1, 5);
  begin();
  pass(3s);
  EXPECT_THAT(script->published, IsEmpty());
  rows(6, 6);
  pass(3s);
  EXPECT_THAT(published_ids(), ElementsAre("6"));
}

TEST_F(publish_test, an_idle_poller_renews_and_a_silent_one_writes_nothing_else) {
  begin();
  pass(1s);
  const auto commits = records->commits;
  const auto beats = records->beats;
  pass(10s);
  EXPECT_GE(records->beats, beats + 3);
  EXPECT_LE(records->commits, commits + 6);
}

TEST_F(publish_test, paused_it_reads_nothing_and_finishes_what_is_open) {
  begin();
  rows(1, 1);
  pass(200ms);
  caf::anon_send(poller, messages::pause_atom_v);
  rows(2, 2);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
  script->received(1);
  settle();
  script->done(1);
  settle();
  EXPECT_EQ(records->count("sent"), 1u);
  EXPECT_TRUE(status().paused);
  caf::anon_send(poller, messages::resume_atom_v);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2"));
}

TEST_F(publish_test, paused_in_the_tracking_database_it_claims_nothing_whatever_the_control_topic_says) {
  begin();
  rows(1, 1);
  pass(200ms);
  records->paused = true;
  pass(2s);
  rows(2, 2);
  pass(3s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
  EXPECT_TRUE(status().paused);
  script->received(1);
  settle();
  script->done(1);
  settle();
  EXPECT_EQ(records->count("sent"), 1u) << "what is open is finished";
  caf::anon_send(poller, messages::resume_atom_v);
  pass(3s);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
  records->paused = false;
  pass(2s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2"));
  EXPECT_FALSE(status().paused);
}

TEST_F(publish_test, a_pause_is_known_before_the_first_claim_and_heard_of_under_load) {
  records->paused = true;
  begin();
  rows(1, 1);
  pass(1s);
  EXPECT_THAT(published_ids(), IsEmpty());
  records->paused = false;
  pass(2s);
  std::int64_t next = 2;
  const auto work = [&](int steps) { // there is never a time without something to write
    for (int step = 0; step < steps; ++step, ++next) {
      rows(next, next);
      pass(50ms);
    }
  };
  work(20);
  records->paused = true;
  work(60);
  const auto published = published_ids().size();
  work(20);
  EXPECT_EQ(published_ids().size(), published);
}

TEST_F(publish_test, asked_to_stop_it_waits_for_open_handshakes_and_then_ends_the_sessions) {
  begin();
  rows(1, 2);
  pass(200ms);
  caf::anon_send_exit(poller, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(publishers[0], caf::exit_reason::user_shutdown);
  settle();
  EXPECT_FALSE(script->stopped);
  script->received(1);
  script->received(2);
  settle();
  EXPECT_THAT(script->released, SizeIs(2));
  script->done(1);
  script->done(2);
  pass(100ms);
  EXPECT_EQ(records->count("sent"), 2u);
  EXPECT_TRUE(script->stopped);
}

TEST_F(publish_test, asked_to_stop_it_does_not_wait_for_ever) {
  begin();
  rows(1, 1);
  pass(200ms);
  caf::anon_send_exit(poller, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(publishers[0], caf::exit_reason::user_shutdown);
  pass(6s);
  EXPECT_TRUE(script->stopped);
  EXPECT_EQ(records->count("claimed"), 1u);
}

TEST_F(publish_test, a_source_that_fails_is_tried_again) {
  begin();
  table->failure = error{errc::database_unavailable, "away"};
  rows(1, 1);
  pass(1s);
  EXPECT_THAT(script->published, IsEmpty());
  table->failure.reset();
  pass(10s);
  script->connect(true);
  pass(200ms);
  EXPECT_THAT(published_ids(), ElementsAre("1"));
}

// --- QoS 1: recorded when it is acknowledged
// ------------------------------------------------------------------------------------

TEST_F(publish_test, at_least_once_a_row_is_recorded_when_it_is_acknowledged) {
  pipeline.qos = 1;
  begin();
  rows(1, 2);
  pass(200ms);
  ASSERT_THAT(published_ids(), ElementsAre("1", "2"));
  EXPECT_EQ(script->published[0].qos, 1);
  EXPECT_THAT(records->records, IsEmpty());
  EXPECT_EQ(status().account.in_flight, 2u);
  script->done(1);
  settle();
  EXPECT_EQ(records->count("sent"), 1u);
  script->done(2);
  settle();
  EXPECT_EQ(records->count("sent"), 2u);
  EXPECT_THAT(script->released, IsEmpty());
  EXPECT_EQ(status().account.sent, 2u);
  EXPECT_TRUE(status().account.balanced());
  pass(20s); // the sweep goes round
  EXPECT_THAT(script->published, SizeIs(2));
}

TEST_F(publish_test, at_least_once_a_new_process_repeats_what_was_not_acknowledged_and_nothing_else) {
  pipeline.qos = 1;
  begin();
  rows(1, 5);
  pass(200ms);
  script->done(1);
  script->done(3);
  settle();
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  script->published.clear();
  pass(1s);
  spawn_poller();
  script->connect(false);
  pass(20s);
  EXPECT_THAT(published_ids(), ::testing::UnorderedElementsAre("2", "4", "5"));
  for (const auto& each : std::vector{script->published})
    script->done(each.token);
  pass(20s);
  EXPECT_THAT(script->published, SizeIs(3));
  EXPECT_EQ(records->count("sent"), 5u);
}

TEST_F(publish_test, at_least_once_what_was_in_flight_when_the_database_failed_is_sent_again) {
  pipeline.qos = 1;
  begin();
  rows(1, 2);
  pass(200ms);
  records->commit_failure = error{errc::connection_lost, "gone"};
  script->done(1);
  pass(1s);
  records->commit_failure.reset();
  script->published.clear();
  pass(10s);
  ASSERT_TRUE(script->dialled);
  script->connect(true);
  pass(1s);
  EXPECT_THAT(published_ids(), ElementsAre("1", "2"));
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, at_least_once_a_refusal_is_recorded_and_a_full_broker_tried_again) {
  pipeline.qos = 1;
  pipeline.retries_max = 1;
  begin();
  rows(1, 2);
  rows(3, 3, "bad");
  pass(200ms);
  script->done(1, 0x87);
  script->done(2, 0x97);
  settle();
  EXPECT_EQ(records->records.at("1/").state, "refused");
  EXPECT_EQ(records->records.at("1/").claim.reason_code, 0x87);
  EXPECT_NE(records->records.at("1/").claim.reason, "");
  EXPECT_EQ(records->records.at("3/").state, "refused");
  ASSERT_THAT(published_ids(), ElementsAre("1", "2", "2"));
  EXPECT_EQ(script->published[2].payload, "payload 2");
  script->done(script->published[2].token, 0x97);
  settle();
  EXPECT_EQ(records->records.at("2/").state, "refused");
  EXPECT_EQ(records->records.at("2/").claim.attempts + 1, 2u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, at_least_once_what_cannot_be_recorded_whole_is_recorded_as_far_as_it_can_be) {
  pipeline.qos = 1;
  records->takes = [](const auto& claim) { return claim.payload.size() <= std::string{"payload 99"}.size(); };
  begin();
  rows(99, 101);
  pass(200ms);
  ASSERT_THAT(published_ids(), ElementsAre("99", "100", "101"));
  script->done(1);
  script->done(2);
  script->done(3, 0x87);
  settle();
  EXPECT_EQ(records->records.at("100/").state, "sent");
  EXPECT_EQ(records->records.at("101/").state, "refused");
  EXPECT_TRUE(status().account.balanced());
  pass(20s);
  EXPECT_THAT(script->published, SizeIs(3));
}

TEST_F(publish_test, at_least_once_a_new_publisher_resumes_what_its_predecessor_had_open) {
  pipeline.qos = 1;
  begin();
  rows(1, 3);
  pass(200ms);
  script->done(2);
  settle();
  const auto first = script->published[0].packet_id;
  caf::anon_send_exit(publishers.back(), caf::exit_reason::kill);
  publishers.clear();
  settle();
  spawn_publisher();
  pass(1s);
  script->connect(true);
  settle();
  ASSERT_THAT(script->resumed, SizeIs(2));
  EXPECT_EQ(script->resumed[0].message.token, 1u);
  EXPECT_EQ(script->resumed[0].message.packet_id, first);
  EXPECT_EQ(script->resumed[0].message.payload, "payload 1");
  EXPECT_EQ(script->resumed[1].message.token, 3u);
  script->done(1);
  script->done(3);
  settle();
  EXPECT_EQ(records->count("sent"), 3u);
  EXPECT_TRUE(status().account.balanced());
}

TEST_F(publish_test, at_least_once_a_lost_session_is_sent_again_or_held) {
  for (const auto rule : {config::lost_session_rule::resend, config::lost_session_rule::hold}) {
    records->records.clear();
    records->shards.clear();
    table->rows.clear();
    pipeline.qos = 1;
    pipeline.on_lost_session = rule;
    begin();
    rows(1, 2);
    pass(200ms);
    caf::anon_send_exit(publishers.back(), caf::exit_reason::kill);
    publishers.clear();
    script->published.clear();
    settle();
    spawn_publisher();
    pass(1s);
    script->connect(false);
    pass(1s);
    if (rule == config::lost_session_rule::resend) {
      EXPECT_THAT(published_ids(), ElementsAre("1", "2"));
      EXPECT_THAT(records->records, IsEmpty());
    } else {
      EXPECT_THAT(script->published, IsEmpty());
      EXPECT_EQ(records->count("held"), 2u);
    }
    EXPECT_TRUE(status().account.balanced());
    caf::anon_send_exit(poller, caf::exit_reason::kill);
    caf::anon_send_exit(publishers.back(), caf::exit_reason::kill);
    publishers.clear();
    settle();
  }
}

TEST_F(publish_test, at_least_once_a_row_that_somebody_else_has_recorded_stays_as_it_is) {
  pipeline.qos = 1;
  begin();
  rows(1, 3);
  pass(200ms);
  records->records["2/"].state = "sent";
  for (std::uint64_t seq = 1; seq <= 3; ++seq)
    script->done(seq);
  settle();
  EXPECT_EQ(records->count("sent"), 3u);
  EXPECT_THAT(script->published, SizeIs(3));
  EXPECT_EQ(status().repeats_avoided, 1u);
}

TEST_F(publish_test, the_age_of_the_oldest_row_is_shown_until_it_is_acknowledged) {
  table->since = wall_now() - 7s;
  begin();
  EXPECT_EQ(status().oldest, 0s);
  rows(1, 1);
  pass(2s);
  EXPECT_GE(status().oldest, 7s);
  script->received(1);
  settle();
  script->done(1);
  pass(2s);
  EXPECT_EQ(status().oldest, 0s);
  EXPECT_EQ(status().shards.at(0).lag.count(), 1u);
  EXPECT_GE(status().lag.max(), 7'000'000u);
}

TEST_F(publish_test, rows_that_nobody_reads_while_the_broker_is_away_count_as_waiting) {
  table->since = wall_now() - 7s;
  begin();
  script->disconnect();
  rows(1, 3);
  pass(3s);
  EXPECT_THAT(script->published, IsEmpty());
  EXPECT_GE(status().oldest, 7s);
  script->ask_to_dial();
  settle();
  script->connect(true);
  pass(1s);
  for (const std::uint64_t seq : {1u, 2u, 3u}) {
    script->received(seq);
    settle();
    script->done(seq);
  }
  pass(2s);
  EXPECT_EQ(records->count("sent"), 3u);
  EXPECT_EQ(status().oldest, 0s);
}

TEST_F(publish_test, rows_that_are_tracked_already_do_not_wait_while_the_broker_is_away) {
  table->since = wall_now() - 7s;
  rows(1, 3);
  begin();
  pass(1s);
  for (const std::uint64_t seq : {1u, 2u, 3u}) {
    script->received(seq);
    settle();
    script->done(seq);
  }
  pass(1s);
  records->shards.at(0).cursors.at(0).floor.clear(); // as where a gap below them keeps the floor down
  caf::anon_send_exit(poller, caf::exit_reason::kill);
  caf::anon_send_exit(publishers[0], caf::exit_reason::kill);
  publishers.clear();
  settle();
  spawn_poller();
  spawn_publisher();
  pass(3s);
  EXPECT_EQ(status().oldest, 0s);
  rows(4, 4);
  pass(3s);
  EXPECT_GE(status().oldest, 7s);
}

TEST_F(publish_test, what_waits_is_no_longer_shown_by_a_fenced_poller) {
  table->since = wall_now() - 7s;
  begin();
  rows(1, 1);
  pass(2s);
  EXPECT_GE(status().oldest, 7s);
  records->shards.at(0).epoch = 7;
  rows(2, 2);
  pass(2s);
  EXPECT_EQ(status().state, telemetry::writer_state::stopped);
  EXPECT_EQ(status().oldest, 0s);
}

} // namespace penstock::actors
