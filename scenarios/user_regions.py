"""Where do the visitors come from, and where would a second site help most?

::

    internet                                         region of the lab
    eu-frankfurt / eu-central-1      5 visitors      +- VPC 10.7.0.0/16 -----+
    na-siliconvalley / us-west-1     2, who fetch    |  shop 10.7.1.10       |
                                     much            |  with an EIP          |
    the lab's own                    1 visitor       |  [flow log]           |
                                                     +-----------------------+

Look at: an ENI's records have the visitors' own public addresses, for the EIP changes the shop's address only. Two
rankings: by visitors Europe leads, by bytes America does. What is proposed follows from what is to be better, and the
proposal is tried: a second shop in the region that has most visitors, and the share of those who are served near them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenarios.story import BOTH_CLOUDS, Scenario, Story

if TYPE_CHECKING:
    from emulator import Lab

REGIONS = {"tencent": ("eu-frankfurt", "na-siliconvalley"), "alibaba": ("eu-central-1", "us-west-1")}
PAGE, FILM = 1448, 28960
"""Bytes of an answer: one segment, and twenty."""


def site(lab: Lab, region: str, number: int) -> Any:
    """A shop in a region that the internet reaches by the EIP returned; its ENI is logged into topic "shops"."""
    vpc = lab.create_vpc(f"10.{number}.0.0/16", name=f"shop-{region}", region=region)
    group = vpc.create_security_group("shop")
    group.allow("ingress", protocol="tcp", port=443)
    group.allow("egress")
    subnet = vpc.create_subnet(f"10.{number}.1.0/24")
    shop = subnet.run_instance(f"shop{number}", private_ip=f"10.{number}.1.10", security_groups=[group])
    eip = lab.allocate_address(f"shop{number}", region=region)
    eip.associate(shop)
    shop.eni.create_flow_log(f"shop{number}", topic=lab.logs.topic("shops", logset="demo"))
    return eip


def run(story: Story, lab: Lab) -> None:
    europe, america = REGIONS[lab.profile.provider]
    here = lab.profile.default_region
    story.step("A shop, and eight visitors in three regions")
    topic = lab.logs.create_topic("shops", logset="demo")
    eip = site(lab, here, 7)
    visitors = [lab.internet.host(f"eu{number}", region=europe, ip=f"198.51.100.{number}") for number in range(1, 6)]
    visitors += [lab.internet.host(f"us{number}", region=america, ip=f"192.0.2.{number}") for number in (1, 2)]
    visitors.append(lab.internet.host("near", region=here, ip="198.19.0.7"))
    region_of = {visitor.ip: visitor.region for visitor in visitors}
    fetched = {europe: PAGE, america: FILM, here: PAGE}

    story.step("Each comes once; the Americans watch films")
    for visitor in visitors:
        outcome = visitor.tcp(eip, 443, bytes=100, answer=fetched[visitor.region]).outcome
        story.check(f"{visitor.name} is served", outcome, "answered")

    story.later("who came, and what went to them?")
    came = "log-status:OK AND srcport:443 | select dstaddr, sum(bytes) as bytes group by dstaddr order by dstaddr"
    rows = story.search(topic, came)
    # Per answer: SYN-ACK, ACK, a segment for each 1448 bytes, FIN, ACK; 52 bytes of headers, 60 of the SYN-ACK.
    page, film = 60 + 4 * 52 + PAGE, 60 + 23 * 52 + FILM
    ranking = {region: [0, 0] for region in (europe, america, here)}
    for row in rows:
        ranking[region_of[row["dstaddr"]]][0] += 1
        ranking[region_of[row["dstaddr"]]][1] += row["bytes"]
    story.table(
        "regions of the visitors",
        [{"region": region, "visitors": count, "bytes": size} for region, (count, size) in ranking.items()],
    )
    story.check("by visitors Europe leads, by bytes America", ranking,
                {europe: [5, 5 * page], america: [2, 2 * film], here: [1, page]})  # fmt: skip

    story.step("The same by a database of places, as one has in a real cloud")
    rows = story.search(
        topic,
        "log-status:OK AND srcport:443 | select ip_to_country(dstaddr) as country, count(distinct dstaddr) as visitors"
        " group by 1 order by visitors desc",
    )
    countries = [(row["country"], row["visitors"]) for row in rows]
    story.check("of one it knows no country", countries, [("Germany", 5), ("United States", 2), (None, 1)])
    near = ranking[here][0]
    story.note(f"served near them: {near} of {len(visitors)}, {100 * near // len(visitors)} %")

    story.step(f"Proposed for most visitors: a second shop in {europe}; the Europeans come again")
    second = site(lab, europe, 8)
    again = int(lab.clock.now)
    for visitor in visitors:
        nearest = second if visitor.region == europe else eip
        visitor.tcp(nearest, 443, bytes=100, answer=fetched[visitor.region])

    story.later("how many are served near them now?")
    rows = story.search(
        topic,
        "log-status:OK AND srcport:443 | select srcaddr, count(distinct dstaddr) as visitors, sum(bytes) as bytes "
        f'where "start" >= {again - again % lab.profile.window_s} group by srcaddr order by srcaddr',
    )
    by_shop = {row["srcaddr"]: (row["visitors"], row["bytes"]) for row in rows}
    story.check("five at the new shop", by_shop, {"10.7.1.10": (3, page + 2 * film), "10.8.1.10": (5, 5 * page)})
    near += by_shop["10.8.1.10"][0]
    story.check("75 % are served near them", 100 * near // len(visitors), 75)
    story.learnt(
        "Rank by visitors for how it feels, by bytes for what it costs: the answers differ.",
        "Behind an EIP the record has the visitor's own address; behind a proxy it would have the proxy's.",
        "A database of places is a guess; try a proposal on packets before it is bought.",
    )


SCENARIO = Scenario("user-regions", "Where visitors come from, and where to be next", run, BOTH_CLOUDS)
