"""A trainer that somebody runs alone, as MONAI allows, once or in the rounds of a federation."""

from contextlib import ExitStack

from ignite.engine import Engine, Events

from mgmt_monai.training.errors import TrainingError
from mgmt_monai.training.metrics import run_anew
from mgmt_monai.training.opening import Opening
from mgmt_monai.training.ranks import n_ranks
from mgmt_monai.training.stage import Stage


class Rounds:
    """First of the first stage's handlers: where no `Experiment` runs it, opens the training and closes it again.

    Asked for more epochs than the first stage has left, as MONAI FL does, it trains those alone; when none is left, the
    second stage instead.
    """

    def __init__(self, opening: Opening, epochs: int, following: Stage) -> None:
        self.opening = opening
        self.epochs = int(epochs)
        self.following = following
        self._held: ExitStack | None = None
        self._failed = ""

    def attach(self, engine: Engine) -> None:
        """Be called when ``engine`` starts."""
        engine.add_event_handler(Events.STARTED, self.begin)

    def begin(self, engine: Engine) -> None:
        """Open the training, unless that is done; train the next round, where it is the second stage's.

        Raises:
            TrainingError: The round before failed: optimizer and count of epochs are those of its middle.
        """
        if self.opening.is_open or n_ranks() > 1:
            return
        if self._failed:
            raise TrainingError(f"a round before ended in {self._failed}: no other follows. Start this client again.")
        if self._held is None:  # behind all other handlers, which have been attached by now
            engine.add_event_handler(Events.COMPLETED, self.end)
            engine.add_event_handler(Events.EXCEPTION_RAISED, self.fail)
        self._held = ExitStack()
        self._held.enter_context(self.opening.held("stopped"))
        state, first = engine.state, self.opening.first
        n_asked = (state.max_epochs or 0) - state.epoch
        first.begin_round()
        first.n_validation = self.following.progress.n_validation = len(self.opening.cohort.items("validation"))
        if state.epoch < self.epochs or n_asked <= 0:
            state.max_epochs = min(state.max_epochs or 0, max(self.epochs, state.epoch))
            self.opening.network.set_stage(first.stage)
            return
        other = self.following.trainer.state
        before = other.iteration
        self.following.go_on(n_asked)
        first.finished = True
        state.epoch += n_asked  # nothing is left for the engine itself
        state.iteration += other.iteration - before
        # An engine with more steps than its epochs have is at its end to ignite, which would begin anew from epoch 0.
        state.epoch_length = max(state.epoch_length or 0, other.epoch_length or 0)

    def end(self, engine: Engine) -> None:
        """Close the training.

        Args:
            engine: As of `begin`.
        """
        if self._held is not None:
            self._held.close()

    def fail(self, engine: Engine, error: BaseException) -> None:
        """Close the training as one that failed or was stopped.

        Args:
            engine: As of `begin`.
            error: What ends it, which is raised again.
        """
        if self._held is not None:
            self._held.__exit__(type(error), error, error.__traceback__)
        self._failed = self._failed or type(error).__name__
        run_anew(engine, error)
