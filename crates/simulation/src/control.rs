//! The control plane, which is the real state machine, and the faults.

use cluster::{Address, ClusterId, Command, GroupId, Incarnation, Outcome, Replica as ReplicaId, Role, Roles, Zone};
use model::PartitionId;
use replication::fill::Filler;
use replication::{Rule, live_members};

use crate::check::Checked;
use crate::data::PARTITIONS;
use crate::message::{Message, To};
use crate::node::Node;
use crate::world::{World, entry_of, event};

impl World {
    pub(crate) fn found_cluster(&mut self) {
        let factor = self.profile.replication_factor;
        self.decide(&Command::Birth {
            cluster: ClusterId(7),
            partition_count: PARTITIONS,
            replication_factor: factor,
            bootstrap_ingesters: u32::from(factor),
        });
        let members = self.profile.groups as usize * usize::from(factor);
        for index in 0..members + self.profile.spares {
            let zone =
                if index < members { index % usize::from(factor) } else { self.random.below(usize::from(factor)) };
            let skew = self.profile.skew_s * 1000;
            let skew = self.random.between(-skew, skew);
            self.nodes.push(Node::new(index, zone, skew));
            self.join(index);
        }
        for group in 0..self.profile.groups {
            let first = group as usize * usize::from(factor);
            let members = self.nodes[first..first + usize::from(factor)].iter().map(|node| node.id.clone()).collect();
            self.decide(&Command::CreateGroup { group: GroupId(group), members });
        }
        let groups = self.profile.groups;
        let owners = (0..PARTITIONS).map(|p| (PartitionId(p), GroupId(p % groups))).collect();
        self.decide(&Command::PlacePartitions { owners });
        for index in 0..members {
            for entry in self.entries.clone().into_values() {
                if let Some(effects) = self.nodes[index].found(&entry, &self.setup) {
                    let founded = self.carry_out(index, effects, None).and_then(|()| self.sync_all(index));
                    assert_eq!(founded, Ok(()), "a founding member begins");
                }
            }
        }
    }

    fn decide(&mut self, command: &Command) -> bool {
        let outcome = self.control.apply(self.control.applied() + 1, command);
        event!(self, "control plane: {command}: {outcome:?}");
        let groups = self.control.map().groups().iter();
        self.entries = groups.map(|group| (group.id(), entry_of(group))).collect();
        matches!(outcome, Outcome::Changed(_))
    }

    fn join(&mut self, index: usize) {
        let node = &self.nodes[index];
        let zone = Zone::new(&format!("z{}", node.zone)).expect("a short name");
        let address = Address::new("host:1").expect("an address");
        let (id, roles) = (node.id.clone(), Roles::one(Role::Ingester));
        self.decide(&Command::Join { node: id.node, roles, zone, address, incarnation: id.incarnation });
    }

    /// The control plane does one thing.
    pub(crate) fn control_turn(&mut self) -> Checked {
        match self.random.below(6) {
            0 => self.replace_lost(),
            1 => self.hear_reports(),
            2 => {
                self.wipe_those_that_left();
                Ok(())
            }
            _ => {
                self.hand_on_the_map();
                Ok(())
            }
        }
    }

    pub(crate) fn control_round(&mut self) -> Checked {
        self.replace_lost()?;
        self.hear_reports()?;
        self.wipe_those_that_left();
        for entry in self.entries.clone().into_values() {
            for node in 0..self.nodes.len() {
                let id = self.nodes[node].id.clone();
                self.send(To::Store, To::Replica(id), Message::Map { entry: entry.clone() });
            }
            for w in 0..self.writers.len() {
                self.send(To::Store, To::Writer(w), Message::Map { entry: entry.clone() });
            }
            for r in 0..self.readers.len() {
                self.send(To::Store, To::Reader(r), Message::Map { entry: entry.clone() });
            }
        }
        Ok(())
    }

    /// A newer entry reaches someone: a node that the entry concerns, or a client.
    fn hand_on_the_map(&mut self) {
        let groups: Vec<_> = self.entries.values().cloned().collect();
        let entry = self.random.pick(&groups).clone();
        let live = live_members(&entry);
        let to = match self.random.below(6) {
            0 => To::Writer(self.random.below(self.writers.len())),
            1 | 2 => To::Reader(self.random.below(self.readers.len())),
            _ => To::Replica(self.random.pick(&live).clone()),
        };
        self.send(To::Store, to, Message::Map { entry });
    }

    fn group_of_node(&self, id: &ReplicaId) -> Option<GroupId> {
        self.control.map().group_of(&id.node).map(cluster::Group::id)
    }

    /// Members whose disk is gone are exchanged for their new directory or for a spare.
    fn replace_lost(&mut self) -> Checked {
        for index in 0..self.nodes.len() {
            let Some(old) = self.nodes[index].lost.clone() else { continue };
            self.join(index);
            let Some(group) = self.group_of_node(&old) else {
                self.nodes[index].lost = None;
                continue;
            };
            let entry = self.entries[&group].clone();
            if entry.newest().position(&old).is_none() {
                self.nodes[index].lost = None;
                continue;
            }
            let spare = self.spare_for(index);
            let joining = spare.filter(|_| self.random.permille(300)).unwrap_or(index);
            let joining = self.nodes[joining].id.clone();
            let seen = entry.newest().number;
            if self.decide(&Command::ReplaceMember { group, seen, leaving: old, joining }) {
                self.nodes[index].lost = None;
                self.suspect(group);
            }
        }
        Ok(())
    }

    /// A node in the zone of another that is in no group and holds nothing.
    fn spare_for(&self, index: usize) -> Option<usize> {
        let zone = self.nodes[index].zone;
        let free = |node: &Node| node.up && node.process.is_none() && node.zone == zone && node.lost.is_none();
        (0..self.nodes.len())
            .find(|i| *i != index && free(&self.nodes[*i]) && self.group_of_node(&self.nodes[*i].id).is_none())
    }

    fn hear_reports(&mut self) -> Checked {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let Some(process) = node.process.as_ref().filter(|_| node.up) else { continue };
            let Some(seen) = Filler::report(&process.replica) else { continue };
            let (group, replica) = (process.replica.durable().entry.id(), node.id.clone());
            if self.decide(&Command::ReportFilled { group, seen, replica }) {
                self.suspect(group);
            }
        }
        Ok(())
    }

    /// A replica that is in no generation that counts may be wiped.
    fn wipe_those_that_left(&mut self) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            let gone = node.process.is_some()
                && node.lost.is_none()
                && self
                    .group_of_node(&node.id)
                    .is_none_or(|group| !replication::is_live(&self.entries[&group], &node.id));
            if gone {
                event!(self, "{} has left and is wiped", self.nodes[index].id);
                self.wipe(index);
                self.join(index);
            }
        }
    }

    fn wipe(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let old = node.id.clone();
        node.disk = Default::default();
        node.process = None;
        node.epoch += 1;
        node.id.incarnation = Incarnation(node.id.incarnation.0 + 1);
        self.ledger.forget_replica(&old);
    }

    pub(crate) fn start_node(&mut self, index: usize) {
        self.nodes[index].up = true;
    }

    /// Something breaks or is mended.
    pub(crate) fn fault(&mut self) -> Checked {
        let faults = self.profile.faults;
        let index = self.random.below(self.nodes.len());
        match self.random.weighted(&faults) {
            0 => self.crash(index),
            1 => {
                (0..self.nodes.len()).for_each(|i| self.start_node(i));
                event!(self, "all nodes are up");
                Ok(())
            }
            2 => self.lose_disk(index),
            3 => {
                let sites = self.random.next() & self.random.next();
                self.cut_off = sites;
                event!(self, "partition {sites:b}");
                Ok(())
            }
            4 => {
                self.cut_off = 0;
                event!(self, "no partition");
                Ok(())
            }
            5 => {
                self.store_is_up = !self.store_is_up;
                event!(self, "bucket is up: {}", self.store_is_up);
                Ok(())
            }
            _ => self.drain(index),
        }
    }

    /// The process ends; of what was not synced, a prefix is there afterwards.
    fn crash(&mut self, index: usize) -> Checked {
        let node = &mut self.nodes[index];
        let unsynced = node.disk.log.iter().filter(|l| l.position > node.disk.synced).count();
        let torn = if unsynced == 0 { 0 } else { self.random.below(unsynced + 1) };
        let node = &mut self.nodes[index];
        let kept = node.disk.log.len() - unsynced + torn;
        for logged in &node.disk.log[node.disk.log.len() - unsynced..kept] {
            self.ledger.log_grew(&node.id, logged);
        }
        node.disk.log.truncate(kept);
        node.disk.synced = node.disk.log.last().map_or(node.disk.synced, |l| l.position.max(node.disk.synced));
        node.reopen(&self.setup);
        self.counted.crashes += 1;
        node.up = self.random.permille(500);
        event!(self, "{} crashes; {torn} of {unsynced} unsynced records are left", self.nodes[index].id);
        if let Some(process) = &self.nodes[index].process {
            let group = process.replica.durable().entry.id();
            self.suspect(group);
        }
        self.check_node(index)
    }

    /// The disk is gone, if the contract allows it.
    fn lose_disk(&mut self, index: usize) -> Checked {
        let id = self.nodes[index].id.clone();
        let Some(group) = self.group_of_node(&id) else { return Ok(()) };
        let entry = self.entries[&group].clone();
        if entry.newest().members.len() == 1 || !replication::is_live(&entry, &id) {
            return Ok(());
        }
        let lives = |member: &cluster::Member| member.replica != id && self.index_of(&member.replica).is_some();
        // Of each generation that counts, those must be left that can tell what was acknowledged in it.
        let is_survived = entry.generations().iter().all(|generation| {
            let left = generation.members.iter().filter(|m| lives(m));
            if generation.members.len() == 2 { left.filter(|m| m.filled).count() > 0 } else { left.count() > 1 }
        });
        // Past that many exchanges the control plane waits for a filled member, which then must not be lost.
        let can_be_replaced = entry.generations().len() < cluster::Group::GENERATIONS_MAX;
        if !is_survived || !can_be_replaced || self.nodes[index].lost.is_some() {
            return Ok(());
        }
        event!(self, "{id} loses its disk");
        self.counted.lost_disks += 1;
        let had = self.nodes[index].process.is_some();
        self.wipe(index);
        if self.keep(Rule::NewDiskNewIncarnation) {
            self.nodes[index].lost = Some(id);
        } else {
            self.nodes[index].id = id;
        }
        self.nodes[index].up = true;
        if had {
            self.suspect(group);
        }
        Ok(())
    }

    /// A member that works is exchanged for a spare.
    fn drain(&mut self, index: usize) -> Checked {
        let id = self.nodes[index].id.clone();
        let (Some(group), Some(spare)) = (self.group_of_node(&id), self.spare_for(index)) else { return Ok(()) };
        let entry = self.entries[&group].clone();
        if entry.newest().position(&id).is_none() || self.nodes[index].lost.is_some() {
            return Ok(());
        }
        let joining = self.nodes[spare].id.clone();
        self.decide(&Command::ReplaceMember { group, seen: entry.newest().number, leaving: id, joining });
        Ok(())
    }
}
