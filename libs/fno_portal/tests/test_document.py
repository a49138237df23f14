"""The document: its own test as printed, its snippets built and run, every name importable with its signature."""

from __future__ import annotations

import inspect
import subprocess
import sys
from decimal import Decimal
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest

import fno_portal
from fno_portal import (
    FNO,
    CoverageResult,
    FNOAuthError,
    FNOClientBase,
    FNOCoverageError,
    FNOEmailParser,
    FNOError,
    FNOMasterPortal,
    FNOOrder,
    FNOOrderError,
    FNOPortalAutomation,
    FNOTimeoutError,
    OpenservePortalAutomation,
    OrderStatus,
    PackageOption,
    VumatelClient,
)


# --- as printed ---
@pytest.mark.asyncio
async def test_vumatel_coverage_check():
    """Test Vumatel coverage check."""
    client = VumatelClient(
        base_url="https://api.vumatel.co.za",
        api_key="test-key"
    )  # fmt: skip

    with patch.object(client.client, 'get', new_callable=AsyncMock) as mock_get:  # noqa: Q000  # fmt: skip
        mock_get.return_value.json.return_value = {
            "is_covered": True,
            "packages": [{"name": "50/50 Mbps"}]
        }  # fmt: skip

        result = await client.check_coverage("123 Main St")

        assert result["is_covered"] is True
        assert len(result["packages"]) > 0


# --- end ---


def _parameters(function) -> list[str]:
    return [
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.kind is one.POSITIONAL_OR_KEYWORD and name != "self"
    ]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (FNOClientBase.__init__, ["base_url", "api_key", "timeout"]),
        (VumatelClient.__init__, ["base_url", "api_key", "timeout"]),
        (FNOClientBase.check_coverage, ["address"]),
        (FNOClientBase.create_order, ["order_data"]),
        (FNOClientBase.get_order_status, ["order_id"]),
        (FNOClientBase.submit_fault, ["fault_data"]),
        (FNOPortalAutomation.__init__, ["username", "password", "headless"]),
        (FNOPortalAutomation.start, []),
        (FNOPortalAutomation.close, []),
        (FNOPortalAutomation.login, ["portal_url", "login_selector"]),
        (OpenservePortalAutomation.check_coverage, ["address"]),
        (FNOEmailParser.__init__, ["imap_server", "username", "password"]),
        (FNOEmailParser.parse_fno_emails, ["fno", "since_date"]),
        (FNOMasterPortal.__init__, ["config"]),
        (FNOMasterPortal._initialize_clients, ["config"]),
        (FNOMasterPortal.check_all_coverage, ["address"]),
        (FNOMasterPortal.create_order, ["fno", "order_data"]),
    ],
)
def test_signatures_are_the_documented_ones(function, names):
    assert _parameters(function) == names


def test_every_exported_name_is_there():
    for name in fno_portal.__all__:
        assert getattr(fno_portal, name) is not None
    assert inspect.signature(FNOClientBase.__init__).parameters["timeout"].default == 30


def test_portal_classes_import_without_playwright():
    """They are the document's names; what is missing is told at the start."""
    program = """
import asyncio, sys
sys.modules["playwright"] = None
from fno_portal import *
try:
    asyncio.run(OpenservePortalAutomation("u", "p").start())
except FNOConfigError as error:
    print(error)
try:
    FNOMasterPortal({"octotel": {"portal_url": "https://x.example", "username": "u", "password": "p"}})
except FNOConfigError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert [line.partition(": ")[0] for line in told.splitlines()] == [
        "Playwright is not installed. Install fno-portal[portal] and Debian's chromium",
        "octotel",
    ]


def test_base_is_abstract():
    with pytest.raises(TypeError):
        FNOClientBase("https://x.example", "k")


def test_error_tree():
    for kind in (FNOCoverageError, FNOOrderError, FNOAuthError, FNOTimeoutError):
        assert issubclass(kind, FNOError)
        assert str(kind("plain")) == "plain"
    assert issubclass(FNOError, Exception)


def test_enums():
    assert [one.value for one in OrderStatus][:8] == [
        "pending", "submitted", "accepted", "scheduled", "in_progress", "completed", "cancelled", "failed",
    ]  # fmt: skip
    assert {one.value for one in FNO} == {
        "vumatel",
        "openserve",
        "frogfoot",
        "octotel",
        "evotel",
        "metrofibre",
    }
    assert FNO.VUMATEL == "vumatel"


def test_example_of_the_coverage_model_validates():
    example = CoverageResult.model_config["json_schema_extra"]["example"]
    result = CoverageResult(**example)
    assert result.packages[0].monthly_cost == Decimal(799)
    assert (result.packages[1].download_mbps, result.packages[1].upload_mbps) == (100, 100)


def test_package_as_documented():
    one = PackageOption(
        name="Fibre",
        download_mbps=200,
        upload_mbps=100,
        monthly_cost=899.1,
        setup_fee=None,
        contract_months=None,
    )
    assert one.monthly_cost == Decimal("899.1")


@pytest.mark.parametrize(
    ("written", "amount"),
    [("R 1 299,50", "1299.50"), ("R799.00 pm", "799.00"), ("ZAR 1,499.50", "1499.50"), (0.1, "0.1")],
)
def test_amounts_as_operators_write_them(written, amount):
    assert PackageOption(name="x", monthly_cost=written).monthly_cost == Decimal(amount)


def test_order_as_documented():
    made = FNOOrder(
        id="ORD-1", fno="vumatel", fno_reference=None, customer_id="c", address="a", package="p",
        status=OrderStatus.PENDING, rica_verified=True, scheduled_date=None, completed_date=None, notes=None,
    )  # fmt: skip
    assert made.status == "pending"


async def test_a_subclass_as_the_document_writes_it():
    class Plain(FNOClientBase):
        async def check_coverage(self, address: str) -> dict[str, Any]:
            response = await self.client.get("/coverage/check", params={"address": address})
            return response.json()

        async def create_order(self, order_data: dict[str, Any]) -> dict[str, Any]:
            return {}

        async def get_order_status(self, order_id: str) -> dict[str, Any]:
            return {}

        async def submit_fault(self, fault_data: dict[str, Any]) -> dict[str, Any]:
            return {}

    portal = FNOMasterPortal({})
    portal.clients[FNO.VUMATEL] = Plain("https://api.vumatel.co.za", "k")
    with patch.object(portal.clients[FNO.VUMATEL].client, "get", new_callable=AsyncMock) as get:
        get.return_value.json = lambda: {
            "is_covered": True,
            "packages": [{"name": "50/50 Mbps", "monthly_cost": 1}],
        }
        results = await portal.check_all_coverage("123 Main Street, Sandton")
    assert [one.fno for one in results] == ["vumatel"]
    await portal.aclose()


async def test_master_portal_as_documented(sims, order):
    sim = sims["vumatel", "document"]
    portal = FNOMasterPortal({"vumatel": {"base_url": sim.url, "api_key": "sim-key"}})
    assert list(portal.clients) == [FNO.VUMATEL]
    results = await portal.check_all_coverage("12 Main Road, Rondebosch")
    assert isinstance(results[0], CoverageResult)
    made = await portal.create_order(FNO.VUMATEL, order)
    assert isinstance(made, FNOOrder)
    assert made.status is OrderStatus.SUBMITTED
    assert made.rica_verified is True
    with pytest.raises(ValueError, match="FNO openserve not configured"):
        await portal.create_order(FNO.OPENSERVE, order)
    await portal.aclose()


async def test_openserve_portal_as_documented(sims, browser):
    class Here(OpenservePortalAutomation):
        PORTAL_URL = sims["openserve", "portal"].url

    portal = Here("partner", "correct horse", headless=True, browser=browser)
    await portal.start()
    await portal.login(portal.PORTAL_URL, portal.LOGIN_SELECTORS)
    found = await portal.check_coverage("12 Main Road, Rondebosch")
    assert found["available"] is True
    assert found["packages"][0]["name"] == "50/50 Mbps"
    assert found["packages"][0]["speed"] == "50/50 Mbps"
    await portal.close()
