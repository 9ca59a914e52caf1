//! What every bus does, on each of them.
//!
//! One function per behaviour over a [`Fixture`]; the macro makes a test of each for each bus.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

// The name that the rest of the workspace uses.
extern crate flowcell_bus as bus;

mod fixture;
mod logs;
mod queues;
mod requests;

use fixture::{memory, nats};

macro_rules! on_both {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        mod on_memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$name(memory().await).await;
            })+
        }
        mod on_nats {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $module::$name(nats().await).await;
            })+
        }
    };
}

on_both! {
    queues::a_message_is_delivered_once_when_acked,
    queues::a_lease_ends,
    queues::a_lease_is_extended,
    queues::a_nack_delays,
    queues::an_id_is_taken_once,
    queues::a_full_queue_refuses,
    queues::a_waiting_fetch_gets_what_comes,
    queues::a_cancelled_fetch_loses_nothing,
    queues::consumers_share,
    queues::pools_are_apart,
    queues::depths_are_apart,
    queues::names_are_checked,
    requests::an_answer_comes_back,
    requests::nobody_serves,
    requests::a_server_that_leaves_answers_what_it_was_sent,
    requests::an_answer_is_late,
    requests::a_dropped_request_is_told,
    requests::large_bodies_go_both_ways,
    requests::too_large_is_refused,
    requests::many_large_bodies_do_not_mix,
    requests::servers_share_and_are_bounded,
    requests::orders_reach_their_worker,
    logs::positions_count_from_one,
    logs::concurrent_appenders_keep_their_order,
    logs::readers_agree,
    logs::a_reader_resumes_anywhere,
    logs::a_reader_waits_for_the_first_entry,
    logs::ids_count_once,
    logs::a_large_entry_is_one_entry,
    logs::a_cancelled_read_loses_nothing,
    logs::logs_are_apart_and_forgotten,
    logs::a_restart_loses_nothing,
    logs::a_closed_bus_ends_everything,
}
