//! What the background does next, given what is ready. spec/10-requests.md, Q12 and Q13.
//!
//! Decides the order: timers that are due, then sockets, then commands, each in bounded shares, so
//! that nothing that is ready waits for ever. What the system has to send goes out within each of
//! them. The loop around it only asks, and looks again at what is ready after each step.

use crate::request::Mutant;

/// What could be done now.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ready {
    /// A timer is due.
    pub timer: bool,
    /// A connection has news.
    pub sockets: bool,
    /// The application has said something.
    pub commands: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Branch {
    /// Handle the timers that are due.
    Timer,
    /// Handle one piece of news of a connection.
    Socket,
    /// Handle one command.
    Command,
    /// Wait until something is ready.
    Wait,
}

/// Whose turn it is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Turn {
    shares: Shares,
    /// The last one was the timers'.
    after_timer: bool,
    /// Turns of sockets since the last command.
    sockets: u8,
    /// Turns that commands have before the next socket.
    commands_left: u8,
    mutant: Option<Mutant>,
}

/// How many turns in a row one kind has while another is ready.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Shares {
    /// Sockets, before commands.
    pub sockets_max: u8,
    /// Commands, once it is their turn.
    pub commands_max: u8,
}

impl Default for Shares {
    /// 16 answers, as many as a few brokers have in flight, before commands; then 64 commands, since
    /// most are small.
    fn default() -> Self {
        Self { sockets_max: 16, commands_max: 64 }
    }
}

impl Shares {
    /// For how many turns at most something that stays ready is not served: the larger share, and
    /// the timers before, between and after.
    #[must_use]
    pub fn wait_max(self) -> usize {
        2 * usize::from(self.sockets_max.max(self.commands_max)) + 1
    }
}

impl Turn {
    /// Nothing was done yet.
    #[must_use]
    pub fn new(shares: Shares, mutant: Option<Mutant>) -> Self {
        Self { shares, after_timer: false, sockets: 0, commands_left: 0, mutant }
    }

    /// What to do next (Q12, Q13).
    pub fn next(&mut self, ready: Ready) -> Branch {
        let others = ready.sockets || ready.commands;
        if Mutant::TimerAgain.is(self.mutant) && self.after_timer && !others {
            return Branch::Timer;
        }
        let yields = (self.after_timer || Mutant::TimersLast.is(self.mutant)) && others;
        self.after_timer = ready.timer && !yields;
        if self.after_timer {
            return Branch::Timer;
        }
        let sockets_done =
            self.sockets >= self.shares.sockets_max && !Mutant::SocketsUnbounded.is(self.mutant);
        if ready.sockets && !(ready.commands && (sockets_done || self.commands_left > 0)) {
            self.commands_left = 0;
            self.sockets = self.sockets.saturating_add(1).min(self.shares.sockets_max);
            return Branch::Socket;
        }
        if ready.commands {
            if self.commands_left == 0 {
                self.commands_left = self.shares.commands_max;
            }
            if !Mutant::CommandsUnbounded.is(self.mutant) {
                self.commands_left -= 1;
            }
            self.sockets = 0;
            if !ready.sockets {
                self.commands_left = 0;
            }
            return Branch::Command;
        }
        if Mutant::Spin.is(self.mutant) { Branch::Socket } else { Branch::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::{Branch, Ready, Shares, Turn};

    fn turns(ready: Ready, count: usize) -> Vec<Branch> {
        let mut turn = Turn::new(Shares { sockets_max: 2, commands_max: 3 }, None);
        (0..count).map(|_| turn.next(ready)).collect()
    }

    #[test]
    fn sockets_go_before_commands_and_each_has_a_share() {
        use Branch::{Command, Socket};
        let order = turns(Ready { timer: false, sockets: true, commands: true }, 7);
        assert_eq!(order, [Socket, Socket, Command, Command, Command, Socket, Socket]);
    }

    #[test]
    fn a_timer_goes_first_and_lets_one_other_through() {
        use Branch::{Socket, Timer};
        let order = turns(Ready { timer: true, sockets: true, commands: false }, 4);
        assert_eq!(order, [Timer, Socket, Timer, Socket]);
        let alone = turns(Ready { timer: true, ..Ready::default() }, 2);
        assert_eq!(alone, [Timer, Timer]);
    }

    #[test]
    fn nothing_ready_is_waited_for() {
        assert_eq!(turns(Ready::default(), 2), [Branch::Wait, Branch::Wait]);
    }
}
