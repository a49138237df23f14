"""sync_provider: tests or syncs configurations from the command line, for people and for scripts."""

import sys
from typing import Any

from circuits.models import Circuit
from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...choices import SyncModeChoices, SyncStatusChoices
from ...models import ProviderAPIConfig
from ...providers.errors import ProviderError
from ...providers.registry import provider_registry
from ...sync.engine import run_sync

# What a script may ask for. When several configurations end differently, the worst counts.
EXIT_SUCCESS, EXIT_FAILED, EXIT_PARTIAL, EXIT_HELD = 0, 1, 3, 4
EXITS = {
    SyncStatusChoices.SUCCESS: EXIT_SUCCESS,
    SyncStatusChoices.PARTIAL: EXIT_PARTIAL,
    SyncStatusChoices.HELD: EXIT_HELD,
    SyncStatusChoices.FAILED: EXIT_FAILED,
}
SEVERITY = (EXIT_SUCCESS, EXIT_PARTIAL, EXIT_HELD, EXIT_FAILED)
SHOWN = 20


class Command(BaseCommand):
    """Exit codes: 0 all is well, 1 a configuration failed, 3 some circuits were not synced, 4 a run waits for a person."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """The documented options, and those for previews and single circuits."""
        parser.add_argument(
            "--provider", type=int, metavar="ID", help="one configuration, by its ID; else every enabled one"
        )
        parser.add_argument("--test", action="store_true", help="only test the connection")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and roll it back")
        parser.add_argument(
            "--circuit", metavar="CID", help="only this circuit, by its circuit ID (with --provider)"
        )
        parser.add_argument(
            "--full",
            action="store_true",
            help="read the whole list even where the carrier tells what changed",
        )
        parser.add_argument(
            "--accept", action="store_true", help="accept a list that is empty or shrank by more than a fifth"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Works through the configurations."""
        configs = self._configs(options["provider"])
        if options["circuit"] and not options["provider"]:
            raise CommandError("--circuit needs --provider: circuit IDs are unique only within a provider")
        if not configs:
            self.stdout.write("No enabled provider configurations found")
            return
        codes = [self._process(config, options) for config in configs]
        self.stdout.write(self.style.SUCCESS("Done!") if not any(codes) else "Done!")
        worst = max(codes, key=SEVERITY.index)
        # Called from Python there is no process to end; the caller reads the output.
        if worst != EXIT_SUCCESS and self._called_from_command_line:
            self.stdout.flush()
            sys.exit(worst)

    def _configs(self, key: int | None) -> list[ProviderAPIConfig]:
        configs = ProviderAPIConfig.objects.select_related("provider", "provider_account")
        if key is None:
            return list(configs.filter(sync_enabled=True))
        config = configs.filter(pk=key).first()
        if config is None:
            raise CommandError(f"There is no provider configuration {key}")
        return [config]

    def _process(self, config: ProviderAPIConfig, options: dict[str, Any]) -> int:
        self.stdout.write(f"Processing provider: {config}")
        provider_class = provider_registry.get(config.provider_type)
        if provider_class is None:
            self.stdout.write(self.style.ERROR(f"Provider type {config.provider_type} not found in registry"))
            return EXIT_FAILED
        try:
            provider = provider_class(config)
        except ProviderError as error:
            self.stdout.write(self.style.ERROR(f"Connection failed: {error}"))
            return EXIT_FAILED
        return self._test(provider) if options["test"] else self._sync(config, provider, options)

    def _test(self, provider: Any) -> int:
        self.stdout.write("Testing connection...")
        answer = provider.test_connection()
        if answer["success"]:
            self.stdout.write(
                self.style.SUCCESS(f"Connection successful ({float(answer['response_time']):.2f} s)")
            )
            return EXIT_SUCCESS
        self.stdout.write(self.style.ERROR(f"Connection failed: {answer['message']}"))
        return EXIT_FAILED

    def _sync(self, config: ProviderAPIConfig, provider: Any, options: dict[str, Any]) -> int:
        self.stdout.write(
            "Starting synchronization (preview)..." if options["dry_run"] else "Starting synchronization..."
        )
        result = run_sync(
            config,
            mode=SyncModeChoices.FULL if options["full"] or options["accept"] else None,
            dry_run=options["dry_run"],
            circuit=self._circuit(config, options["circuit"]),
            accept=options["accept"],
            provider=provider,
        )
        counts = result.as_result()
        self.stdout.write(f"Sync complete: {counts['success']}/{counts['total']} circuits synced")
        if counts["failed"]:
            self.stdout.write(self.style.WARNING(f"Failed: {counts['failed']}"))
        for sentence in result.errors[:SHOWN]:
            self.stdout.write(f"  {sentence}")
        if len(result.errors) > SHOWN:
            self.stdout.write("  and more: the report of the run has all of them")
        if options["dry_run"]:
            self._show_changes(result)
        return EXITS.get(result.status, EXIT_FAILED)

    def _show_changes(self, result: Any) -> None:
        for change in result.run.changes.select_related("circuit").iterator():
            before = "nothing" if change.before is None else change.before or "empty"
            self.stdout.write(
                f"  {change.object_repr}: {change.field} from {before} to {change.after or 'empty'}"
            )

    def _circuit(self, config: ProviderAPIConfig, cid: str | None) -> Circuit | None:
        if not cid:
            return None
        circuit = Circuit.objects.filter(provider=config.provider, cid=cid).first()
        if circuit is None:
            raise CommandError(f"{config.provider} has no circuit {cid} in NetBox")
        return circuit
