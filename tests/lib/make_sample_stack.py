"""Make tests/data/sample, the small company that the demo and the tests mount.

    build/venv/bin/python3 -m tests.lib.make_sample_stack [FOLDER]

Everything is made up, and made the same way every time.
"""

import datetime
import random
import shutil
import sys
from pathlib import Path

import pyarrow

from tests.lib.stack import Stack, parquet

SAMPLE = Path(__file__).resolve().parents[1] / "data/sample"

FIRST_NAMES = "Anna Ben Clara David Ema Filip Greta Hugo Iva Jan Karla Leo Mia Nora Otto".split()
LAST_NAMES = "Bauer Cerny Dvorak Fischer Haas Kral Lang Maly Novak Peters Schmidt Vesely".split()
COUNTRIES = ["CZ", "CZ", "CZ", "DE", "DE", "AT", "SK", "PL"]
SEGMENTS = ["consumer", "consumer", "consumer", "small business", "enterprise"]
PRODUCTS = [f"{size} {thing}" for thing in ("desk", "chair", "lamp", "shelf", "cabinet")
            for size in ("small", "classic", "large", "outdoor", "office")]
PAGES = ["/", "/sale", "/desks", "/chairs", "/lamps", "/basket", "/checkout", "/contact"]
DAY_ONE = datetime.date(2025, 1, 1)

FINANCE = """\
# Finance

How we count money, agreed with the controlling team. Numbers that leave the company follow these
definitions; where a dashboard disagrees with this page, the dashboard is wrong.

## Required

### Revenue is net, and dated by the order

Revenue is `orders.total` of orders with status `delivered` or `shipped`, without VAT and after
discounts, in the month of `ordered_on`. Returned orders stay in the table with status `returned`:
report them beside the revenue, do not subtract them a second time.

### One currency in every report

`orders.currency` says what was paid. Reports are in EUR and use the month's average rate; never mix
daily and monthly rates in one table.

### The fiscal year starts in February

Quarter one is February to April. `date_trunc('quarter', ordered_on)` is therefore wrong for every
fiscal report; shift the date by one month first.

## Good to know

### Most orders have no campaign

`orders.campaign_id` is null for about two orders in three. An inner join with `campaigns` loses
them silently; join from the left when the sum has to match revenue.
"""

SUPPORT = """\
# Support

What colleagues in customer care have learned and would like not to explain again.

## Required

### Never quote a customer's e-mail address

Use `customer_id`. The address is in `customers.email` for matching only, and a report that prints
it has to be withdrawn by hand from every inbox it reached.

### First response and resolution are different clocks

First response stops with the first message written by a person. Resolution stops when the customer
stays silent for three days after our last answer. Automatic replies stop neither.

## Good to know

### Mondays look bad

Tickets from the weekend are opened on Monday morning. Compare weeks, not days.
"""


def columns(names, rows):
    return dict(zip(names.split(), map(list, zip(*rows))))


def make_customers(rng, count):
    rows = []
    for i in range(1, count + 1):
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        rows.append((i, f"{first} {last}", f"{first}.{last}.{i}@example.com".lower(),
                     rng.choice(COUNTRIES), rng.choice(SEGMENTS),
                     DAY_ONE - datetime.timedelta(days=rng.randrange(1500))))
    return columns("customer_id name email country segment customer_since", rows)


def make_campaigns(rng, count):
    rows = []
    for i in range(1, count + 1):
        start = DAY_ONE + datetime.timedelta(days=rng.randrange(560))
        channel = rng.choice(["search", "social", "newsletter", "affiliate"])
        rows.append((i, f"{channel} {start:%B} {start.year} no. {i}", channel, start,
                     start + datetime.timedelta(days=rng.randrange(7, 45)),
                     float(rng.randrange(5, 200) * 100)))
    return columns("campaign_id name channel starts_on ends_on budget_eur", rows)


def make_prices(count):
    rows = []
    for i in range(count):
        product, quarter = i % len(PRODUCTS), i // len(PRODUCTS)
        month = datetime.date(2024 + (quarter * 3) // 12, (quarter * 3) % 12 + 1, 1)
        rows.append((PRODUCTS[product], month, "EUR",
                     round((19 + 12 * product) * 1.015**quarter, 2)))
    return columns("product valid_from currency price", rows)


def make_orders(rng, count, customers, campaigns, prices):
    price = dict(zip(prices["product"], prices["price"]))  # the last one wins
    rows = []
    for i in range(1, count + 1):
        day = DAY_ONE + datetime.timedelta(days=i * 590 // count)
        product, quantity = rng.choice(PRODUCTS), rng.choice([1, 1, 1, 2, 2, 4, 6, 10])
        campaign = rng.choice(campaigns["campaign_id"]) if rng.random() < 0.35 else None
        status = rng.choices(["delivered", "shipped", "returned", "cancelled"], [86, 6, 5, 3])[0]
        rows.append((i, rng.choice(customers["customer_id"]), day, product, quantity,
                     price[product], round(price[product] * quantity, 2), "EUR",
                     rng.choice(["web", "web", "shop", "phone"]), campaign, status))
    return columns("order_id customer_id ordered_on product quantity unit_price total currency "
                   "channel campaign_id status", rows)


def make_clicks(rng, month, count, first_id, campaigns):
    start = datetime.datetime(2026, month, 1)
    moments = sorted(rng.randrange(30 * 86400) for _ in range(count))
    rows = [(first_id + i, start + datetime.timedelta(seconds=second),
             rng.choice(campaigns["campaign_id"]), rng.choice(PAGES),
             rng.choice(["phone", "phone", "desktop", "tablet"]), rng.randrange(200, 90_000))
            for i, second in enumerate(moments)]
    return columns("click_id clicked_at campaign_id page device milliseconds", rows)


def make_sample(folder):
    rng = random.Random(20260822)
    customers, campaigns = make_customers(rng, 500), make_campaigns(rng, 40)
    prices = make_prices(200)
    orders = make_orders(rng, 5000, customers, campaigns, prices)
    clicks, first_id = {}, 1
    for month, count in ((5, 1960), (6, 2015), (7, 2043)):
        table = make_clicks(rng, month, count, first_id, campaigns)
        clicks[f"month=2026-{month:02}/data.parquet"] = parquet(columns=pyarrow.table(table))
        first_id += count

    def add_table(name, table, **fields):
        content = parquet(columns=pyarrow.table(table)) if table else None
        return stack.add_table(name, content, **fields)

    stack = Stack(folder)
    shared = add_table("orders", orders, updated="2026-08-22T04:15:00+00:00")
    stack.add_package(
        "sales",
        shared,
        add_table("customers", customers, updated="2026-08-21T04:15:00+00:00"),
        add_table("ledger", None, query_mode="remote", updated=None, source_type="bigquery"),
        name="Sales", icon="🛒", color="#2f6fde",
        description="Orders and the customers who placed them")
    stack.add_package(
        "marketing",
        shared,
        add_table("campaigns", campaigns, updated="2026-08-19T22:00:00+00:00"),
        name="Marketing", icon="📣", color="#de7a2f", requirement="available",
        description="Campaigns, and the orders they brought")
    stack.add_package(
        "events",
        stack.add_table("clicks", clicks, updated="2026-08-01T01:30:00+00:00"),
        name="Events", description="Clicks on campaign links, one part a month")
    stack.add_direct(add_table("prices", prices, updated="2026-07-01T00:00:00+00:00"))
    stack.add_domain("finance", FINANCE, name="Finance", icon="💶",
                     description="How we count money", required_count=3)
    stack.add_domain("support", SUPPORT, name="Support", required_count=2,
                     description="What customer care has learned")
    stack.write()


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLE
    shutil.rmtree(target, ignore_errors=True)
    make_sample(target)
