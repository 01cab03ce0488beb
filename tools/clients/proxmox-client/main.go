// What somebody writes with go-proxmox on the first day: look at the cluster, make a guest, run it, remove it.
// Arguments: the address of the API, a user, a password. Each step is one line.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/luthermonson/go-proxmox"
)

var ctx = context.Background()

func must[T any](found T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return found
}

func ended(step string, task *proxmox.Task) {
	if err := task.Wait(ctx, 100*time.Millisecond, time.Minute); err != nil {
		fmt.Fprintln(os.Stderr, step, err)
		os.Exit(1)
	}
	fmt.Println(step, task.Type, task.ExitStatus)
}

func main() {
	client := proxmox.NewClient(os.Args[1], proxmox.WithCredentials(&proxmox.Credentials{
		Username: os.Args[2], Password: os.Args[3],
	}))
	fmt.Println("release", must(client.Version(ctx)).Release)
	cluster := must(client.Cluster(ctx))
	fmt.Println("cluster", cluster.Name, cluster.Quorate, len(cluster.Nodes))
	for _, one := range must(client.Nodes(ctx)) {
		fmt.Println("node", one.Node, one.Status)
	}

	node := must(client.Node(ctx, "pve1"))
	number := must(cluster.NextID(ctx))
	ended("made", must(node.NewVirtualMachine(ctx, number,
		proxmox.VirtualMachineOption{Name: "name", Value: "go"},
		proxmox.VirtualMachineOption{Name: "memory", Value: 512},
		proxmox.VirtualMachineOption{Name: "cores", Value: 1},
		proxmox.VirtualMachineOption{Name: "kvm", Value: 0},
		proxmox.VirtualMachineOption{Name: "bios", Value: "ovmf"},
	)))
	guest := must(node.VirtualMachine(ctx, number))
	fmt.Println("guest", guest.Name, guest.Status, guest.VirtualMachineConfig.Cores)
	ended("tagged", must(guest.AddTag(ctx, "first-day")))
	ended("started", must(guest.Start(ctx)))
	if err := guest.Ping(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("running", guest.IsRunning())
	ended("stopped", must(guest.Stop(ctx)))
	ended("removed", must(guest.Delete(ctx)))
	_, err := node.VirtualMachine(ctx, number)
	fmt.Println("gone", err != nil)

	stranger := proxmox.NewClient(os.Args[1], proxmox.WithCredentials(&proxmox.Credentials{
		Username: os.Args[2], Password: "wrong",
	}))
	_, err = stranger.Nodes(ctx)
	fmt.Println("a stranger", proxmox.IsNotAuthorized(err))
}
