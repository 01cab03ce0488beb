"""Privileges and built-in roles of PVE 9. VM.Monitor is gone: it became VM.GuestAgent.*."""

PRIVILEGES = frozenset(
    {
        *("Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit"),
        *("Group.Allocate", "Mapping.Audit", "Mapping.Modify", "Mapping.Use", "Permissions.Modify"),
        *("Pool.Allocate", "Pool.Audit", "Realm.Allocate", "Realm.AllocateUser"),
        *("SDN.Allocate", "SDN.Audit", "SDN.Use"),
        *("Sys.AccessNetwork", "Sys.Audit", "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog"),
        *("User.Modify", "VM.Allocate", "VM.Audit", "VM.Backup", "VM.Clone"),
        *("VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk", "VM.Config.HWType"),
        *("VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.Console"),
        *("VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt"),
        *("VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted"),
        *("VM.Migrate", "VM.PowerMgmt", "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback"),
    }
)

_VM_USER = frozenset(
    {
        *("VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit"),
        *("VM.Console", "VM.GuestAgent.Audit", "VM.PowerMgmt"),
    }
)
_VM = frozenset(one for one in PRIVILEGES if one.startswith("VM."))
_ADMIN_ONLY = frozenset({"Permissions.Modify", "Realm.Allocate", "Sys.Modify", "Sys.PowerMgmt", "Sys.AccessNetwork"})

ROLES: dict[str, frozenset[str]] = {
    "Administrator": PRIVILEGES,
    "NoAccess": frozenset(),
    "PVEAdmin": PRIVILEGES - _ADMIN_ONLY,
    "PVEAuditor": frozenset(one for one in PRIVILEGES if one.endswith(".Audit")),
    "PVEDatastoreAdmin": frozenset(one for one in PRIVILEGES if one.startswith("Datastore.")),
    "PVEDatastoreUser": frozenset({"Datastore.AllocateSpace", "Datastore.Audit"}),
    "PVEPoolAdmin": frozenset({"Pool.Allocate", "Pool.Audit"}),
    "PVESDNAdmin": frozenset({"SDN.Allocate", "SDN.Audit", "SDN.Use"}),
    "PVESDNUser": frozenset({"SDN.Audit", "SDN.Use"}),
    "PVESysAdmin": frozenset({"Sys.Audit", "Sys.Console", "Sys.Syslog"}),
    "PVETemplateUser": frozenset({"VM.Audit", "VM.Clone"}),
    "PVEUserAdmin": frozenset({"Group.Allocate", "Realm.AllocateUser", "User.Modify"}),
    "PVEVMAdmin": _VM,
    "PVEVMUser": _VM_USER,
}
