// The command line: parses, and hands over to one function a command.
#include "config/value.hpp"
#include "nodes/check.hpp"
#include "nodes/cluster_command.hpp"
#include "nodes/dead_letters.hpp"
#include "nodes/demo.hpp"
#include "nodes/exit_codes.hpp"
#include "nodes/load.hpp"
#include "nodes/load_table.hpp"
#include "nodes/run.hpp"
#include "nodes/status.hpp"
#include "nodes/tables.hpp"
#include "nodes/tables_edit.hpp"
#include "nodes/verify.hpp"
#include "nodes/verify_topic.hpp"
#include "nodes/version.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <initializer_list>
#include <iostream>
#include <optional>
#include <string>
#include <unistd.h>

namespace {

using namespace penstock::nodes;

/// Set by the subcommand that was given.
using action = std::function<int()>;

void add_config(CLI::App& command, std::filesystem::path& file, std::string& node, bool required = true) {
  auto* option = command.add_option("--config,-c", file, "the configuration (YAML, or the same tree as JSON)");
  if (required)
    option->required();
  command.add_option("--node", node, "which of the file's nodes this is");
}

void add_run(CLI::App& app, action& chosen) {
  auto* command = app.add_subcommand("run", "Run a node until SIGTERM: what the configuration says flows");
  command->footer(
    "The first SIGTERM or SIGINT stops gracefully: no more is read, what was read is committed and acknowledged.\n"
    "A second one ends at once; nothing is lost, the broker delivers again what was not acknowledged.\n"
    "SIGHUP reads the configuration again: pipelines that have changed are stopped and started, no others.\n"
    "DATA/run.json (in a cluster DATA/nodes/NAME/run.json) holds the pid and the actual ports while the node runs.\n\n"
    "  penstock run --config penstock.yaml\n"
    "  penstock run --config cluster.yaml --node b\n"
    "  penstock run --config cluster.yaml --node x7 --address 10.0.0.7:7000 --roles ingest,write   # not in the file");
  auto options = std::make_shared<run_options>();
  add_config(*command, options->config, options->node);
  command
    ->add_option("--address", options->joins.address,
                 "join a cluster whose file does not list this node: where the others reach it")
    ->type_name("HOST:PORT")
    ->needs("--node");
  command->add_option("--http", options->joins.http, "with --address: serves health and metrics there (default: off)")
    ->type_name("HOST:PORT|off")
    ->needs("--address");
  command->add_option("--roles", options->joins.roles, "with --address: what it may run (default: all)")
    ->type_name("ingest,publish,write,web")
    ->needs("--address");
  command->callback([&chosen, options] { chosen = [options] { return run(*options); }; });
}

void add_demo(CLI::App& app, action& chosen) {
  auto* command =
    app.add_subcommand("demo", "See it work: simulated devices, a real broker, a real database, a kill -9");
  command->footer(
    "  penstock demo\n  penstock demo --nodes 3\n  penstock demo --rate 50000 --seconds 60 --data ./demo");
  auto options = std::make_shared<demo_options>();
  command->add_option("--devices", options->devices, "simulated devices")->capture_default_str();
  command->add_option("--rate", options->rate, "messages a second")->capture_default_str();
  command->add_option("--seconds", options->seconds, "how long they publish")->capture_default_str();
  command->add_option("--nodes", options->nodes, "processes that share the work: a cluster, if more than one")
    ->check(CLI::Range(1, 8))
    ->capture_default_str();
  command->add_flag("!--no-kill", options->kill, "leave out the kill -9 in the middle");
  command->add_option("--data", options->data,
                      "keep the data in this folder (default: a temporary one, deleted at the end)");
  command->callback([&chosen, options] { chosen = [options] { return demo(*options, std::cout, std::cerr); }; });
}

void add_check(CLI::App& app, action& chosen) {
  auto* command = app.add_subcommand("check", "Check a configuration; every problem is listed at once, with its line");
  command->footer(
    "  penstock check penstock.yaml\n  penstock check --connect penstock.yaml   # try brokers and databases too");
  auto options = std::make_shared<check_options>();
  command->add_option("FILE,--config,-c", options->config, "the configuration")->required();
  command->add_option("--node", options->node, "which of the file's nodes this is");
  command->add_flag("--connect", options->connect,
                    "also connect to each broker and open each database (its tables are made)");
  command->callback([&chosen, options] { chosen = [options] { return check(*options, std::cout, std::cerr); }; });
}

void add_config_show(CLI::App& app, action& chosen) {
  auto* group = app.add_subcommand("config", "Look at a configuration");
  group->require_subcommand(1);
  auto* command = group->add_subcommand("show", "Print what is in force, with every default; secrets as ***");
  command->footer("  penstock config show --config penstock.yaml\n"
                  "  penstock config show --config penstock.yaml --node west --json");
  auto options = std::make_shared<config_show_options>();
  add_config(*command, options->config, options->node);
  command->add_flag("--json", options->json, "as JSON");
  command->callback([&chosen, options] { chosen = [options] { return config_show(*options, std::cout, std::cerr); }; });
}

void add_status(CLI::App& app, action& chosen) {
  auto* command =
    app.add_subcommand("status", "What a running node says: rates, lag, demand, restarts, every record accounted for");
  command->footer("  penstock status --config penstock.yaml\n  penstock status --url http://127.0.0.1:8080 --json");
  auto options = std::make_shared<status_options>();
  add_config(*command, options->config, options->node, false);
  auto* url = command->add_option("--url", options->url, "ask this node, for example http://127.0.0.1:8080");
  command->get_option("--config")->excludes(url);
  command->add_flag("--json", options->json, "as JSON (keys: docs/operation.md)");
  command->callback([&chosen, options] {
    if (options->config.empty() && options->url.empty())
      throw CLI::RequiredError("--config or --url");
    chosen = [options] { return status(*options, std::cout, std::cerr); };
  });
}

void add_duration(CLI::App& command, const std::string& name, std::chrono::milliseconds& value,
                  const std::string& help) {
  command
    .add_option_function<std::string>(
      name,
      [&value, name](const std::string& text) {
        const auto duration = penstock::config::parse_duration(text);
        if (!duration)
          throw CLI::ValidationError(name, duration.error().message);
        value = *duration;
      },
      help)
    ->type_name("DURATION");
}

/// A rate of "max" is none.
void add_rate(CLI::App& command, std::optional<double>& rate, const std::string& help) {
  command
    .add_option_function<std::string>(
      "--rate",
      [&rate](const std::string& text) {
        double number = 0;
        if (text == "max")
          rate.reset();
        else if (CLI::detail::lexical_cast(text, number) && number > 0)
          rate = number;
        else
          throw CLI::ValidationError("--rate", "a positive number, or max");
      },
      help)
    ->type_name("NUMBER|max")
    ->default_str("max");
}

CLI::Option* add_percent(CLI::App& command, const std::string& name, double& value, const std::string& help) {
  return command.add_option(name, value, help)->check(CLI::Range(0.0, 100.0))->type_name("PCT");
}

/// Refuses options that were given and mean something only beside others.
void refuse(const CLI::App& command, std::initializer_list<const char*> names, const std::string& why) {
  for (const char* name : names)
    if (command.get_option(name)->count() > 0)
      throw CLI::ValidationError(name, why);
}

// Options of both kinds of load are read into the options of messages, and copied.
void add_load_messages(CLI::App& command, load_options& options) {
  command.add_option("--pipeline", options.pipeline,
                     "publish messages for this ingest pipeline (default: the only one)");
  auto* broker = command.add_option("--broker", options.broker_url, "publish to this broker: mqtt://host:port");
  command.get_option("--config")->excludes(broker);
  command.add_option("--topic", options.topic, "with --broker: the topic, with {user_id} and {device_id}")
    ->needs(broker);
  command.add_option("--devices", options.devices, "simulated devices")
    ->capture_default_str()
    ->check(CLI::PositiveNumber);
  command.add_option("--qos", options.qos, "0, 1 or 2")->capture_default_str()->check(CLI::Range(0, 2));
  command.add_option("--connections", options.connections, "connections to the broker")
    ->capture_default_str()
    ->check(CLI::Range(1, 1'000));
  add_percent(command, "--duplicates", options.duplicates_percent, "per cent of the messages that are published twice");
  add_percent(command, "--malformed", options.malformed_percent, "per cent of the messages that cannot be decoded");
  add_duration(command, "--ramp", options.ramp, "grow to the full rate in this time");
}

void add_load_rows(CLI::App& command, load_table_options& options) {
  command.add_option("--table", options.pipeline, "insert rows into the table of this publish pipeline")
    ->type_name("PIPELINE");
  command.add_flag("--create", options.create, "with --table: make the table where it is missing");
  command.add_option("--monitors", options.monitors, "with --table: values of shard_by, m00001 and so on")
    ->capture_default_str()
    ->check(CLI::PositiveNumber);
  command.add_option("--writers", options.writers, "with --table: connections that commit at the same time")
    ->capture_default_str()
    ->check(CLI::Range(1, 100));
  add_percent(command, "--late", options.late_percent,
              "with --table: per cent of the transactions that stay open, so that their ids become visible late");
  add_duration(command, "--late-for", options.late_for, "with --table: how long those stay open at most (default 5s)");
  add_percent(command, "--updates", options.updates_percent,
              "with --table: per cent of the transactions that update rows which are there (on_update: publish)");
  add_percent(command, "--rollbacks", options.rollbacks_percent,
              "with --table: per cent of the transactions that are rolled back, which leaves gaps in the ids");
}

void check_load(const CLI::App& command, const load_options& messages) {
  const bool rows = command.get_option("--table")->count() > 0;
  if (rows)
    refuse(command,
           {"--pipeline", "--broker", "--topic", "--devices", "--qos", "--connections", "--duplicates", "--malformed",
            "--ramp"},
           "is for devices that publish messages (--pipeline or --broker); --table inserts rows, of --monitors, over "
           "--writers");
  else
    refuse(command, {"--create", "--monitors", "--writers", "--late", "--late-for", "--updates", "--rollbacks"},
           "is for rows in the table of a publish pipeline: name that with --table PIPELINE");
  if (rows && messages.config.empty())
    throw CLI::RequiredError("--config (it says where the table is)");
  if (messages.config.empty() && messages.broker_url.empty())
    throw CLI::RequiredError("--config or --broker");
}

void add_load(CLI::App& app, action& chosen) {
  auto* command =
    app.add_subcommand("load", "Simulate devices that publish, or a plant that inserts, and write down what they did");
  command->footer(
    "  penstock load --config penstock.yaml --pipeline telemetry --devices 5000 --rate 10000 --ledger sent.csv\n"
    "  penstock load --broker mqtt://127.0.0.1:1883 --topic 'users/{user_id}/devices/{device_id}/telemetry'\n"
    "  penstock load --config penstock.yaml --table TableA --create --count 50000 --late 2 --ledger rows.csv\n\n"
    "With --config the messages have the shape of a pipeline's columns, with --broker that of telemetry.\n"
    "--table inserts rows for a publish pipeline instead, in transactions of up to 100 rows.\n"
    "The ledger is for `penstock verify`: with --pipeline for messages, with --topic for rows.");
  auto messages = std::make_shared<load_options>();
  auto rows = std::make_shared<load_table_options>();
  auto duration = std::make_shared<std::chrono::milliseconds>(0);
  add_config(*command, messages->config, messages->node, false);
  add_load_messages(*command, *messages);
  add_load_rows(*command, *rows);
  command->add_option("--count", messages->count,
                      "distinct messages, or rows (default 10000, or what --duration allows)");
  add_duration(*command, "--duration", *duration, "go on this long, for example 30s");
  add_rate(*command, messages->rate, "distinct messages, or rows, a second in all, or max");
  command->add_option("--seed", messages->seed, "the same seed makes the same values")->capture_default_str();
  command->add_option("--ledger", messages->ledger, "write down here what was sent, or committed");
  add_duration(*command, "--timeout", messages->timeout,
               "give up when the broker, or the database, was away for this long (default 30s)");
  command->callback([&chosen, command, messages, rows, duration] {
    check_load(*command, *messages);
    if (duration->count() > 0)
      messages->duration = *duration;
    rows->config = messages->config;
    rows->node = messages->node;
    rows->count = messages->count;
    rows->duration = messages->duration;
    rows->rate = messages->rate;
    rows->seed = messages->seed;
    rows->ledger = messages->ledger;
    rows->timeout = messages->timeout;
    if (command->get_option("--table")->count() > 0)
      chosen = [rows] { return load_table(*rows, std::cout, std::cerr); };
    else
      chosen = [messages] { return load(*messages, std::cout, std::cerr); };
  });
}

void check_verify(const CLI::App& command) {
  const bool topic = command.get_option("--topic")->count() > 0;
  if (topic)
    refuse(command, {"--pipeline"},
           "names an ingest pipeline, whose rows are looked for in the database; --topic names a publish pipeline, "
           "whose messages are read from the broker: give one of them");
  else
    refuse(command, {"--subscribe", "--client-id"}, "is for reading messages from the broker: --topic PIPELINE");
  const bool ledger = command.get_option("--ledger")->count() > 0;
  const bool subscribe = command.get_option("--subscribe")->count() > 0;
  if (ledger && subscribe)
    throw CLI::ValidationError("--ledger", "is for the verdict; --subscribe only makes the session, before the load");
  if (!ledger && !subscribe)
    throw CLI::RequiredError("--ledger");
}

void add_verify(CLI::App& app, action& chosen) {
  auto* command = app.add_subcommand(
    "verify", "Hold a ledger of `load` against the database, or against the messages: missing, repeated, latency");
  command->footer("  penstock verify --config penstock.yaml --pipeline telemetry --ledger sent.csv --wait 30s\n"
                  "  penstock verify --config penstock.yaml --topic TableA --subscribe     # before the load\n"
                  "  penstock verify --config penstock.yaml --topic TableA --ledger rows.csv --wait 30s\n\n"
                  "--pipeline looks for the rows of messages in the database. --topic reads the messages of rows from\n"
                  "the broker, over a session that keeps them while nobody reads; it may run beside the load.\n"
                  "Exit code 0: nothing is missing, repeated or out of order; 1: something is.");
  auto options = std::make_shared<verify_options>();
  auto topic = std::make_shared<verify_topic_options>();
  add_config(*command, options->config, options->node);
  command->add_option("--pipeline", options->pipeline, "the ingest pipeline (default: that of the ledger)");
  command->add_option("--topic", topic->pipeline, "the publish pipeline whose messages to read")->type_name("PIPELINE");
  command->add_option("--ledger", options->ledger, "what `penstock load --ledger` wrote");
  add_duration(*command, "--wait", options->wait,
               "wait at most this long for what is missing; with --topic, while nothing comes");
  command->add_option("--client-id", topic->client_id,
                      "with --topic: of the session (default penstock-verify-PIPELINE)");
  command->add_flag("--subscribe", topic->subscribe, "with --topic: only make the session, without what it had kept");
  command->add_flag("--json", options->json, "as JSON (keys: docs/operation.md)");
  command->callback([&chosen, command, options, topic] {
    check_verify(*command);
    topic->config = options->config;
    topic->node = options->node;
    topic->ledger = options->ledger;
    topic->wait = options->wait;
    topic->json = options->json;
    if (command->get_option("--topic")->count() > 0)
      chosen = [topic] { return verify_topic(*topic, std::cout, std::cerr); };
    else
      chosen = [options] { return verify(*options, std::cout, std::cerr); };
  });
}

/// Options of a command that prints SQL, runs it, or takes it back.
std::shared_ptr<sql_action> add_sql_action(CLI::App& command, tables_options& options, const std::string& back) {
  auto does = std::make_shared<sql_action>(sql_action::print);
  command.add_option("PIPELINE", options.pipeline, "the publish pipeline (default: the only one)");
  auto* apply = command.add_flag_callback(
    "--apply", [does] { *does = sql_action::apply; }, "run it with the user of the configuration");
  command
    .add_flag_callback(
      "--remove", [does] { *does = sql_action::remove; }, back)
    ->excludes(apply);
  return does;
}

void add_tables_notify(CLI::App& group, const std::shared_ptr<tables_options>& options, action& chosen) {
  auto* command =
    group.add_subcommand("notify", "The SQL that makes a table tell of its changes, so that rows are found at once");
  command->footer("  penstock tables notify TableA --config penstock.yaml | psql plant   # as the table's owner\n"
                  "  penstock tables notify TableA --config penstock.yaml --apply\n\n"
                  "PostgreSQL alone needs it. It slows small transactions down by its share of a commit.");
  const auto does = add_sql_action(*command, *options, "take it back");
  command->callback([&chosen, options, does] {
    chosen = [options, does] { return tables_notify(*options, *does, std::cout, std::cerr); };
  });
}

void add_tables_logical(CLI::App& group, const std::shared_ptr<tables_options>& options, action& chosen) {
  auto* command = group.add_subcommand(
    "logical", "The SQL that makes a table's changes readable from PostgreSQL's log: detect: {changes: logical}");
  command->footer("  penstock tables logical TableA --config penstock.yaml | psql plant   # as the table's owner\n"
                  "  penstock tables logical TableA --config penstock.yaml --apply\n"
                  "  penstock tables logical TableA --config penstock.yaml --remove       # while no node reads it\n\n"
                  "`penstock check --connect` says what else is missing. The table itself is not changed.");
  const auto does = add_sql_action(*command, *options, "take it back, and drop the pipeline's replication slot");
  command->callback([&chosen, options, does] {
    chosen = [options, does] { return tables_logical(*options, *does, std::cout, std::cerr); };
  });
}

void add_tables_unsent(CLI::App& group, const std::shared_ptr<tables_options>& options, action& chosen) {
  auto* list = group.add_subcommand("unsent", "The rows that were refused or are held, and why; newest first");
  list->footer("  penstock tables unsent TableA --config penstock.yaml");
  auto limit = std::make_shared<std::size_t>(100);
  list->add_option("PIPELINE", options->pipeline, "the publish pipeline (default: the only one)");
  list->add_option("--limit", *limit, "at most this many")->capture_default_str();
  list->callback([&chosen, options, limit] {
    chosen = [options, limit] { return tables_unsent(*options, *limit, std::cout, std::cerr); };
  });
  auto* retry = group.add_subcommand("retry", "Have refused or held rows claimed anew, as they are now");
  retry->footer("  penstock tables retry TableA 4711 --config penstock.yaml\n"
                "  penstock tables retry TableA --all --config penstock.yaml\n\n"
                "A held row may have reached the broker: to retry it may repeat it.");
  auto record = std::make_shared<std::string>();
  auto all = std::make_shared<bool>(false);
  retry->add_option("PIPELINE", options->pipeline, "the publish pipeline")->required();
  auto* one = retry->add_option("RECORD", *record, "its record id, as `unsent` shows it");
  retry->add_flag("--all", *all, "all of them")->excludes(one);
  retry->callback([&chosen, options, record, all] {
    if (record->empty() && !*all)
      throw CLI::RequiredError("RECORD or --all");
    chosen = [options, record] { return tables_retry(*options, *record, std::cout, std::cerr); };
  });
}

void add_tables_add(CLI::App& group, const std::shared_ptr<tables_options>& common, action& chosen) {
  auto* command =
    group.add_subcommand("add", "Publish a table: writes it to the file, and has the running node take it");
  command->footer(
    "  penstock tables add --config penstock.yaml                       # asks, with proposals\n"
    "  penstock tables add --config penstock.yaml --table dbo.TableA --dry-run\n"
    "  penstock tables add TableA --config penstock.yaml --database plant --table dbo.TableA --key RecordId \\\n"
    "    --order CreatedAt --shard-by MonitorId --shards 5 --broker main --topic 'data/tableA/{MonitorId}'\n\n"
    "What is not given is proposed by a look at the table: key, order, shard-by and topic; on a terminal it is\n"
    "asked for. The file keeps its comments and its form; it is changed only if it is without problems.");
  auto options = std::make_shared<tables_add_options>();
  command->add_option("PIPELINE", options->pipeline, "its name (default: the table's)");
  command->add_option("--database", options->database, "a name of `databases` (default: the only one)");
  command->add_option("--table", options->table, "TABLE or SCHEMA.TABLE");
  command->add_option("--key", options->key, "columns that identify a row: A or A,B")
    ->delimiter(',')
    ->allow_extra_args(false);
  command->add_option("--order", options->order, "the column that says which row is older");
  command->add_option("--shard-by", options->shard_by, "rows with the same value of this column keep their order");
  command->add_option("--shards", options->shards, "sessions that share the rows (default: 1)");
  command->add_option("--broker", options->broker, "a name of `brokers` (default: the only one)");
  command->add_option("--topic", options->topic, "with {Column}");
  command->add_option("--fields", options->fields, "columns of the payload: A,B=name (default: all)")
    ->delimiter(',')
    ->allow_extra_args(false);
  command->add_option("--start", options->start,
                      "rows that are there already: all (default), now, or a value of the order");
  command->add_flag("--dry-run", options->dry_run, "print the change to the file and do nothing");
  command->callback([&chosen, options, common] {
    options->config = common->config;
    options->node = common->node;
    const bool asks = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
    chosen = [options, asks] { return tables_add(*options, {asks ? &std::cin : nullptr}, std::cout, std::cerr); };
  });
}

void add_tables_remove(CLI::App& group, const std::shared_ptr<tables_options>& common, action& chosen) {
  auto* command =
    group.add_subcommand("remove", "Publish a table no more: takes it out of the file, and has the running "
                                   "node drop it");
  command->footer("  penstock tables remove TableA --config penstock.yaml\n\n"
                  "What it has sent stays in the tracking table: added again under its name, it sends nothing twice.");
  auto options = std::make_shared<tables_edit_options>();
  command->add_option("PIPELINE", options->pipeline, "the publish pipeline")->required();
  command->add_flag("--dry-run", options->dry_run, "print the change to the file and do nothing");
  command->callback([&chosen, options, common] {
    options->config = common->config;
    options->node = common->node;
    chosen = [options] { return tables_remove(*options, std::cout, std::cerr); };
  });
}

void add_tables_pause(CLI::App& group, const std::shared_ptr<tables_options>& options, action& chosen) {
  const auto add = [&](const char* name, const char* help, bool pause) {
    auto* command = group.add_subcommand(name, help);
    command->footer(std::string{"  penstock tables "} + name + " TableA --config penstock.yaml");
    command->add_option("PIPELINE", options->pipeline, "the publish pipeline")->required();
    command->callback([&chosen, options, pause] {
      chosen = [options, pause] { return tables_pause(*options, pause, std::cout, std::cerr); };
    });
  };
  add("pause", "Claim no more rows, on whatever node and over restarts; what is in flight is finished", true);
  add("resume", "Go on with a table that is paused", false);
}

void add_tables(CLI::App& app, action& chosen) {
  auto* group = app.add_subcommand("tables", "The tables that are published: how far they are, and what was not sent");
  group->require_subcommand(1);
  auto options = std::make_shared<tables_options>();
  add_config(*group, options->config, options->node);
  group->add_flag("--json", options->json, "as JSON (keys: docs/operation.md)");
  group->fallthrough();
  auto* list = group->add_subcommand("list", "Every published table, and how many of its rows are in which state");
  list->footer("  penstock tables list --config penstock.yaml");
  list->callback([&chosen, options] { chosen = [options] { return tables_list(*options, std::cout, std::cerr); }; });
  add_tables_add(*group, options, chosen);
  add_tables_remove(*group, options, chosen);
  add_tables_pause(*group, options, chosen);
  add_tables_notify(*group, options, chosen);
  add_tables_logical(*group, options, chosen);
  add_tables_unsent(*group, options, chosen);
}

void add_dead_letters_list(CLI::App& group, const std::shared_ptr<dead_letters_options>& options, action& chosen) {
  auto* command = group.add_subcommand("list", "List them, newest last seen first");
  command->footer("  penstock dead-letters list --config penstock.yaml\n"
                  "  penstock dead-letters list --url http://127.0.0.1:8080 --pipeline telemetry --json");
  auto limit = std::make_shared<std::size_t>(100);
  command->add_option("--limit", *limit, "at most this many a pipeline; 0: all (10,000 with --url)")
    ->capture_default_str();
  command->callback([&chosen, options, limit] {
    chosen = [options, limit] { return dead_letters_list(*options, *limit, std::cout, std::cerr); };
  });
}

void add_dead_letters_show(CLI::App& group, const std::shared_ptr<dead_letters_options>& options, action& chosen) {
  auto* command = group.add_subcommand("show", "Show one, with its payload and the reason");
  command->footer("  penstock dead-letters show --config penstock.yaml 3f9a");
  auto id = std::make_shared<std::string>();
  command->add_option("ID", *id, "its id; the beginning is enough")->required();
  command->callback([&chosen, options, id] {
    chosen = [options, id] { return dead_letters_show(*options, *id, std::cout, std::cerr); };
  });
}

void add_dead_letters_replay(CLI::App& group, const std::shared_ptr<dead_letters_options>& options, action& chosen) {
  auto* command = group.add_subcommand("replay", "Send them through the pipeline again, as they are or repaired");
  command->footer("  penstock dead-letters replay --config penstock.yaml --all\n"
                  "  penstock dead-letters replay --config penstock.yaml 3f9a --payload repaired.json\n"
                  "  penstock dead-letters replay --url http://127.0.0.1:8080 --all   # the node needs `admin: true`");
  auto what = std::make_shared<replay_options>();
  auto* id = command->add_option("ID", what->id, "its id; the beginning is enough");
  auto* all = command->add_flag("--all", what->all, "all of them")->excludes(id);
  command->add_option("--payload", what->payload, "a file with the repaired payload")->needs(id)->excludes(all);
  command->callback([&chosen, options, what] {
    if (what->id.empty() && !what->all)
      throw CLI::RequiredError("ID or --all");
    chosen = [options, what] { return dead_letters_replay(*options, *what, std::cout, std::cerr); };
  });
}

void add_dead_letters(CLI::App& app, action& chosen) {
  auto* group = app.add_subcommand("dead-letters", "Messages that could not become rows: list, show, replay");
  group->require_subcommand(1);
  auto options = std::make_shared<dead_letters_options>();
  add_dead_letters_list(*group, options, chosen);
  add_dead_letters_show(*group, options, chosen);
  add_dead_letters_replay(*group, options, chosen);
  for (auto* command : group->get_subcommands([](CLI::App*) { return true; })) {
    add_config(*command, options->config, options->node, false);
    auto* url = command->add_option("--url", options->url, "ask this node, for example http://127.0.0.1:8080");
    command->get_option("--config")->excludes(url);
    command->get_option("--node")->excludes(url);
    command->add_option("--pipeline", options->pipeline, "only of this pipeline");
    command->add_flag("--json", options->json, "as JSON (keys: docs/dead-letters.md)");
    command->parse_complete_callback([options] {
      if (options->config.empty() && options->url.empty())
        throw CLI::RequiredError("--config or --url");
    });
  }
}

void add_cluster_status(CLI::App& group, const std::shared_ptr<cluster_options>& options, action& chosen) {
  auto* command = group.add_subcommand("status", "The nodes, who owns which shard, links, lag and demand");
  command->footer("  penstock cluster status --config cluster.yaml\n"
                  "  penstock cluster status --config cluster.yaml --json   # keys: docs/cluster.md\n\n"
                  "Works from any machine that has the file and reaches the state database. Each living node is asked\n"
                  "over HTTP for its links, lag and demand; where it cannot be, there is a - in their place.");
  command->add_flag("--json", options->json, "as JSON (keys: docs/cluster.md)");
  command->callback(
    [&chosen, options] { chosen = [options] { return cluster_status(*options, std::cout, std::cerr); }; });
}

void add_cluster_drain(CLI::App& group, const std::shared_ptr<cluster_options>& options, action& chosen) {
  auto* command = group.add_subcommand("drain", "Have a node give its shards to the others, before it is stopped");
  command->footer("  penstock cluster drain b --config cluster.yaml\n"
                  "  penstock cluster drain b --undo --config cluster.yaml\n\n"
                  "Shards move without loss and without repeats. It keeps those that no other node may own.");
  auto node = std::make_shared<std::string>();
  auto undo = std::make_shared<bool>(false);
  command->add_option("NODE", *node, "its name")->required();
  command->add_flag("--undo", *undo, "let it take part again");
  command->callback([&chosen, options, node, undo] {
    chosen = [options, node, undo] { return cluster_drain(*options, *node, *undo, std::cout, std::cerr); };
  });
}

void add_cluster_move(CLI::App& group, const std::shared_ptr<cluster_options>& options, action& chosen) {
  auto* command = group.add_subcommand("move", "Pin a shard to a node, or give it back to placement");
  command->footer(
    "  penstock cluster move telemetry/0 b --config cluster.yaml                # a shard of a pipeline\n"
    "  penstock cluster move telemetry/batch-writer/1 c --config cluster.yaml   # a lane of its writers\n"
    "  penstock cluster move telemetry/0 - --config cluster.yaml                # wherever placement puts it\n\n"
    "The pin lasts until it is taken back. While the node is dead or draining, others own the shard.");
  auto shard = std::make_shared<std::string>();
  auto node = std::make_shared<std::string>();
  command->add_option("SHARD", *shard, "PIPELINE/SHARD, as `cluster status` shows it")->required();
  command->add_option("NODE", *node, "its name, or - for none")->required();
  command->callback([&chosen, options, shard, node] {
    chosen = [options, shard, node] { return cluster_move(*options, *shard, *node, std::cout, std::cerr); };
  });
}

void add_cluster(CLI::App& app, action& chosen) {
  auto* group = app.add_subcommand("cluster", "The nodes that share one configuration: who does what, and moving it");
  group->require_subcommand(1);
  auto options = std::make_shared<cluster_options>();
  group->add_option("--config,-c", options->config, "the configuration (YAML, or the same tree as JSON)")->required();
  group->fallthrough();
  add_cluster_status(*group, options, chosen);
  add_cluster_drain(*group, options, chosen);
  add_cluster_move(*group, options, chosen);
}

int usage_or_help(const CLI::App& app, const CLI::Error& failure) {
  // What is missing is reported before what is too much, which often is the reason.
  const auto unknown = app.remaining(true);
  if (failure.get_exit_code() == static_cast<int>(CLI::ExitCodes::RequiredError) && !unknown.empty())
    std::cerr << "not understood: " << unknown.front() << '\n';
  return app.exit(failure) == 0 ? exit_done : exit_usage;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Moves records between MQTT and SQL; loses and repeats nothing."};
  app.name("penstock");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string{"penstock "} + std::string{version()});
  app.footer("Exit codes: 0 done, 1 the verdict is bad, 64 usage, 69 something needed cannot be reached,\n"
             "70 a failure that nothing below the root could mend, 78 configuration.\n\n"
             "Begin with: penstock demo");
  action chosen;
  add_run(app, chosen);
  add_demo(app, chosen);
  add_check(app, chosen);
  add_config_show(app, chosen);
  add_load(app, chosen);
  add_verify(app, chosen);
  add_tables(app, chosen);
  add_status(app, chosen);
  add_dead_letters(app, chosen);
  add_cluster(app, chosen);
  app.add_subcommand("version", "Print the version")->callback([&chosen] {
    chosen = [] {
      std::cout << "penstock " << version() << '\n';
      return exit_done;
    };
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::Error& failure) {
    return usage_or_help(app, failure);
  }
  return chosen();
}
