"""What a user types into the OCI CLI, against a sandbox that the environment alone points it at."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ocifree_pipeline.sandbox import process
from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline.sandbox.process import Options, Running
from ocifree_pipeline_tests.conformance.oci_cli import Step, Story

pytestmark = [pytest.mark.real("OCI CLI"), pytest.mark.timeout(600)]

ID = "--query data.id --raw-output"
STATE = "--query 'data.\"lifecycle-state\"' --raw-output"
AVAILABLE = "--wait-for-state AVAILABLE --wait-interval-seconds 0"
TERMINATED = "--wait-for-state TERMINATED --wait-interval-seconds 0"
UEFI = (
    '{"Compute.Firmware": {"descriptorType": "enumstring", "source": "IMAGE", "values": ["UEFI_64"], '
    '"defaultValue": "UEFI_64"}}'
)
ANYWHERE = '[{"destination": "0.0.0.0/0", "destinationType": "CIDR_BLOCK", "networkEntityId": "$gateway"}]'
SSH_RULE = (
    '[{"direction": "INGRESS", "protocol": "6", "source": "0.0.0.0/0", "sourceType": "CIDR_BLOCK", '
    '"tcpOptions": {"destinationPortRange": {"min": 22, "max": 22}}}]'
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A paying account: a free one may not import images."""
    here = process.start(tmp_path / "sandbox", Options(profile={"account": "payg", "a1_ocpus": 2, "a1_memory_gb": 12}))
    yield here
    here.stop()


@pytest.fixture
def story(running: Running, tmp_path: Path) -> Story:
    folder = tmp_path / "user"
    folder.mkdir()
    return Story(running.environment(), folder, tenancy=running.call("GET", "status")["tenancy"])


def test_a_network_and_back_to_nothing(story: Story, running: Running):
    story.tell(
        Step(f"iam compartment create -c $tenancy --name lab --description d {ID}", keep="lab"),
        Step("iam compartment list --name lab --query 'data[0].\"lifecycle-state\"' --raw-output", "ACTIVE"),
        Step(
            "network vcn create -c $lab --cidr-blocks '[\"10.0.0.0/16\"]' --display-name main --dns-label main "
            f"{AVAILABLE} {ID}",
            keep="vcn",
        ),
        Step(
            "network vcn get --vcn-id $vcn --query 'data.\"default-route-table-id\"' --raw-output",
            r"ocid1\.routetable\..*",
            "routes",
        ),
        Step("network vcn list -c $lab --display-name main --query 'length(data)'", "1"),
        Step(
            f"network internet-gateway create -c $lab --vcn-id $vcn --is-enabled true {AVAILABLE} {ID}",
            keep="gateway",
        ),
        Step(f"network route-table update --rt-id $routes --route-rules '{ANYWHERE}' --force {STATE}", "AVAILABLE"),
        Step(f"network nsg create -c $lab --vcn-id $vcn --display-name ssh {AVAILABLE} {ID}", keep="nsg"),
        Step(f"network nsg rules add --nsg-id $nsg --security-rules '{SSH_RULE}'"),
        Step(
            'network nsg rules list --nsg-id $nsg --query \'data[0]."tcp-options"."destination-port-range".max\'', "22"
        ),
        Step(
            f"network subnet create -c $lab --vcn-id $vcn --cidr-block 10.0.1.0/24 --dns-label nodes {AVAILABLE} {ID}",
            keep="subnet",
        ),
        Step(
            "network subnet create -c $lab --vcn-id $vcn --cidr-block 10.0.1.128/25",
            refused=(400, "InvalidParameter", r"10\.0\.1\.128/25"),
        ),
        Step("network subnet list -c $lab --vcn-id $vcn --query 'data[].\"cidr-block\"|[0]' --raw-output", r"10\..*"),
        Step("network vcn delete --vcn-id $vcn --force", refused=(409, "Conflict", "(?i)subnet|gateway|associated")),
        Step("iam compartment delete -c $lab --force"),
        Step(f"iam compartment get -c $lab {STATE}", "ACTIVE|DELETING"),
        Step(f"network subnet delete --subnet-id $subnet --force {TERMINATED}"),
        Step(f"network nsg delete --nsg-id $nsg --force {TERMINATED}"),
        Step("network route-table update --rt-id $routes --route-rules '[]' --force"),
        Step(f"network internet-gateway delete --ig-id $gateway --force {TERMINATED}"),
        Step(f"network vcn delete --vcn-id $vcn --force {TERMINATED}"),
    )
    everything_was_understood(running)


def test_an_image_and_a_machine_and_back_to_nothing(story: Story, running: Running):
    folder = story.folder
    write_qcow2(folder / "disk.qcow2")
    (folder / "key.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5ZxJ1Yv1Vh6qJ8x4P1l2m3n4o5p6q7r8s9t0u1v2w3 me\n"
    )
    story.tell(
        Step("iam availability-domain list --query 'data[0].name' --raw-output", r"Kfkm:UK-LONDON-1-AD-1", "ad"),
        Step(f"network vcn create -c $tenancy --cidr-block 10.0.0.0/16 {ID}", keep="vcn"),
        Step(f"network subnet create -c $tenancy --vcn-id $vcn --cidr-block 10.0.1.0/24 {ID}", keep="subnet"),
        Step(f"network nsg create -c $tenancy --vcn-id $vcn {ID}", keep="nsg"),
        # an image
        Step("os ns get --query data --raw-output", keep="namespace"),
        Step("os bucket create -c $tenancy --name images --query data.name --raw-output", "images"),
        Step("os object put --bucket-name images --file disk.qcow2 --no-multipart"),
        Step(
            "compute image import from-object -c $tenancy --namespace $namespace --bucket-name images "
            f"--name disk.qcow2 --display-name talos --source-image-type QCOW2 --launch-mode PARAVIRTUALIZED {ID}",
            keep="image",
        ),
        Step(f"compute image get --image-id $image {STATE}", "AVAILABLE"),
        Step("compute image get --image-id $image --query 'data.\"launch-options\".firmware' --raw-output", "BIOS"),
        Step(
            "compute global-image-capability-schema list --query 'data[0].\"current-version-name\"' --raw-output",
            keep="schema_version",
        ),
        Step(
            "compute image-capability-schema create -c $tenancy --image-id $image --display-name uefi "
            f"--global-image-capability-schema-version-name $schema_version --schema-data '{UEFI}' {ID}",
            keep="schema",
        ),
        Step(
            "compute image-shape-compatibility-entry add --image-id $image --shape-name VM.Standard.A1.Flex "
            "--query data.shape --raw-output",
            r"VM\.Standard\.A1\.Flex",
        ),
        Step(
            "compute image list -c $tenancy --operating-system 'Canonical Ubuntu' --shape VM.Standard.A1.Flex --all "
            "--query 'length(data) > `1`'",
            "true",
        ),
        # what may be launched
        Step(
            "limits resource-availability get -c $tenancy --service-name compute --limit-name standard-a1-core-count "
            "--availability-domain $ad --query data.available",
            "2",
        ),
        Step(
            "compute compute-capacity-report create -c $tenancy --availability-domain $ad --shape-availabilities "
            '\'[{"instanceShape": "VM.Standard.A1.Flex", "instanceShapeConfig": {"ocpus": 1, "memoryInGBs": 6}}]\' '
            '--query \'data."shape-availabilities"[0]."availability-status"\' --raw-output',
            "AVAILABLE|OUT_OF_HOST_CAPACITY",
        ),
        # the machine
        Step(
            f"network public-ip create -c $tenancy --lifetime RESERVED --display-name front {AVAILABLE} {ID}",
            keep="reserved",
        ),
        Step(
            "compute instance launch -c $tenancy --availability-domain $ad --shape VM.Standard.A1.Flex "
            '--image-id $image --shape-config \'{"ocpus": 1, "memoryInGBs": 6}\' --subnet-id $subnet '
            "--nsg-ids '[\"$nsg\"]' --assign-public-ip false --display-name node1 --ssh-authorized-keys-file key.pub "
            f"--wait-for-state RUNNING --wait-interval-seconds 0 {ID}",
            keep="instance",
        ),
        Step(
            "compute instance launch -c $tenancy --availability-domain $ad --shape VM.Standard.A1.Flex "
            '--image-id $image --shape-config \'{"ocpus": 2, "memoryInGBs": 12}\' --subnet-id $subnet',
            refused=(400, "LimitExceeded", "standard-a1-core-count"),
        ),
        Step("compute instance list -c $tenancy --output table", r".*node1.*"),
        Step(
            "compute instance list-vnics --instance-id $instance --query 'data[0].\"private-ip\"' --raw-output",
            r"10\.0\.1\.\d+",
            "address",
        ),
        Step("compute instance list-vnics --instance-id $instance --query 'data[0].id' --raw-output", keep="vnic"),
        Step("network private-ip list --vnic-id $vnic --query 'data[0].id' --raw-output", keep="private"),
        Step(
            "network public-ip update --public-ip-id $reserved --private-ip-id $private "
            "--wait-for-state ASSIGNED --wait-interval-seconds 0 --query 'data.\"ip-address\"' --raw-output",
            keep="public",
        ),
        Step("network vnic get --vnic-id $vnic --query 'data.\"public-ip\"' --raw-output", keep="seen"),
        Step("bv boot-volume list -c $tenancy --availability-domain $ad --query 'data[0].\"size-in-gbs\"'", r"\d+"),
        Step(
            "compute instance action --instance-id $instance --action SOFTSTOP --wait-for-state STOPPED "
            f"--wait-interval-seconds 0 {STATE}",
            "STOPPED",
        ),
        Step(
            "compute instance action --instance-id $instance --action START --wait-for-state RUNNING "
            f"--wait-interval-seconds 0 {STATE}",
            "RUNNING",
        ),
        Step(
            "compute console-history capture --instance-id $instance --wait-for-state SUCCEEDED "
            f"--wait-interval-seconds 0 {ID}",
            keep="console",
        ),
        Step("compute console-history get-content --instance-console-history-id $console --file -", r".+"),
        # back to nothing
        Step("network subnet delete --subnet-id $subnet --force", refused=(409, "Conflict", "(?i)vnic")),
        Step(
            "compute instance terminate --instance-id $instance --force --preserve-boot-volume false "
            "--wait-for-state SUCCEEDED --wait-interval-seconds 0"
        ),
        Step(f"compute instance get --instance-id $instance {STATE}", "TERMINATED"),
        Step(f"network public-ip get --public-ip-id $reserved {STATE}", "AVAILABLE"),
        Step("network public-ip delete --public-ip-id $reserved --force"),
        Step("compute image delete --image-id $image --force"),
        Step("os object delete --bucket-name images --name disk.qcow2 --force"),
        Step("os bucket delete --name images --force"),
        Step(f"network subnet delete --subnet-id $subnet --force {TERMINATED}"),
    )
    assert story.kept["seen"] == story.kept["public"]
    everything_was_understood(running)


def test_objects_money_and_rules(story: Story, running: Running):
    folder = story.folder
    (folder / "large.bin").write_bytes(bytes(range(256)) * 100_000)
    (folder / "small.txt").write_text("hello\n")
    story.tell(
        # objects
        Step("os ns get --query data --raw-output", keep="namespace"),
        Step("os bucket create -c $tenancy --name data --versioning Disabled --query data.namespace --raw-output"),
        Step("os bucket create -c $tenancy --name data", refused=(409, "BucketAlreadyExists", "data")),
        Step("os object put --bucket-name data --file large.bin --part-size 10 --parallel-upload-count 3"),
        Step("os object put --bucket-name data --file small.txt --name notes/small.txt"),
        Step("os object list --bucket-name data --prefix notes/ --query 'data[].name|[0]'", '"notes/small.txt"'),
        Step(
            "os object head --bucket-name data --name large.bin --query '\"content-length\"' --raw-output", "25600000"
        ),
        Step("os object get --bucket-name data --name large.bin --file back.bin"),
        Step("os object get --bucket-name data --name notes/small.txt --file -", "hello"),
        Step("os object get --bucket-name data --name nothing --file -", refused=(404, None, "404")),  # of a HEAD
        Step("os object rename --bucket-name data --source-name notes/small.txt --new-name moved.txt"),
        Step(
            "os preauth-request create --bucket-name data --name share --access-type ObjectRead -on moved.txt "
            "--time-expires 2099-01-01T00:00:00Z --query 'data.\"access-uri\"' --raw-output",
            r"/p/.+/n/.+/b/data/o/moved\.txt",
        ),
        Step("os bucket delete --name data --force", refused=(409, "BucketNotEmpty", "data")),
        Step("os object bulk-delete --bucket-name data --force"),
        # money
        Step(
            "budgets budget budget create -c $tenancy --amount 1 --reset-period MONTHLY --target-type COMPARTMENT "
            f"--targets '[\"$tenancy\"]' --display-name zero {ID}",
            keep="budget",
        ),
        Step(
            "budgets budget alert-rule create --budget-id $budget --type ACTUAL --threshold 1 "
            f"--threshold-type PERCENTAGE --recipients me@example.com {ID}",
            keep="rule",
        ),
        Step("budgets budget alert-rule list --budget-id $budget --query 'data[0].threshold'", r"1(\.0)?"),
        Step(
            "usage-api usage-summary request-summarized-usages --tenant-id $tenancy --granularity DAILY "
            "--time-usage-started 2026-01-01T00:00:00Z --time-usage-ended 2026-01-03T00:00:00Z "
            "--query 'length(data.items)'",
            r"\d+",
        ),
        Step("budgets budget budget delete --budget-id $budget --force"),
        # rules
        Step(
            "limits quota create -c $tenancy --name free --description d "
            f"--statements '[\"zero compute-core quotas in tenancy\"]' {ID}",
            keep="quota",
        ),
        Step(
            "limits quota update --quota-id $quota --force --statements "
            "'[\"set compute-core quota standard-a1-core-count to 2 in tenancy\"]' --query 'data.statements|[0]'",
            r".*to 2 in tenancy.*",
        ),
        Step(
            "limits quota create -c $tenancy --name bad --description d --statements '[\"please be free\"]'",
            refused=(400, "InvalidParameter", "please"),
        ),
        Step(
            "limits value list -c $tenancy --service-name compute --name standard-a1-core-count --all "
            "--query 'data[0].value'",
            r"\d+",
        ),
        Step("limits quota delete --quota-id $quota --force"),
        # names
        Step(f"dns zone create -c $tenancy --name lab.example --zone-type PRIMARY {ID}", keep="zone"),
        Step(
            "dns record rrset update --zone-name-or-id lab.example --domain www.lab.example --rtype A --force "
            '--items \'[{"domain": "www.lab.example", "rtype": "A", "rdata": "192.0.2.1", "ttl": 60}]\''
        ),
        Step(
            "dns record rrset get --zone-name-or-id lab.example --domain www.lab.example --rtype A "
            "--query 'data.items[0].rdata' --raw-output",
            r"192\.0\.2\.1",
        ),
        Step("dns zone delete --zone-name-or-id lab.example --force"),
    )
    assert (folder / "back.bin").read_bytes() == (folder / "large.bin").read_bytes()
    everything_was_understood(running)


def test_pages_and_errors_as_the_cli_shows_them(story: Story):
    story.tell(
        *(
            Step(f"iam compartment create -c $tenancy --name {name} --description d {ID}")
            for name in ("c0", "c1", "c2")
        ),
        Step("iam compartment list --limit 2 --query 'length(data)'", "2"),
        Step("iam compartment list --limit 2 --query '\"opc-next-page\"' --raw-output", keep="page"),
        Step("iam compartment list --limit 2 --page $page --query 'data[].name|[0]'", '"c[012]"'),
        Step("iam compartment list --all --page-size 1 --query 'length(data)'", "3"),
        Step("iam compartment list --sort-by NAME --sort-order DESC --query 'data[0].name' --raw-output", "c2"),
        Step(
            "network vcn get --vcn-id ocid1.vcn.oc1..none",
            refused=(404, "NotAuthorizedOrNotFound", "Authorization failed or requested resource not found"),
        ),
        Step(
            "iam compartment create -c $tenancy --name c0 --description d",
            refused=(409, "CompartmentAlreadyExists", "c0"),
        ),
        Step(
            "iam compartment list --region us-phoenix-1",
            refused=(401, "NotAuthenticated", "The required information to complete authentication"),
        ),
    )


def everything_was_understood(running: Running) -> None:
    """No request failed inside the sandbox or asked for something that it does not play; all signatures were good."""
    counted = running.call("GET", "records/count")
    assert counted["verified"] == counted["count"] > 0
    assert not {status for status in counted["byStatus"] if status.startswith("5")}, counted
