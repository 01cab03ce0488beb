// What somebody writes with Oracle's Go SDK on the first day: a network, an object, a machine, and back to nothing.
// Where the account is comes from a configuration file and from the environment alone; each step is one line.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/core"
	"github.com/oracle/oci-go-sdk/v65/identity"
	"github.com/oracle/oci-go-sdk/v65/objectstorage"
)

var ctx = context.Background()

func must[T any](found T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return found
}

func refused(step string, err error) {
	failure, ok := common.IsServiceError(err)
	if !ok {
		fmt.Fprintf(os.Stderr, "%s: refused by nobody: %v\n", step, err)
		os.Exit(1)
	}
	fmt.Println(step, failure.GetHTTPStatusCode(), failure.GetCode())
}

func main() {
	config := must(common.ConfigurationProviderFromFile(os.Args[1], ""))
	tenancy := must(config.TenancyOCID())

	who := must(identity.NewIdentityClientWithConfigurationProvider(config))
	domains := must(who.ListAvailabilityDomains(ctx, identity.ListAvailabilityDomainsRequest{CompartmentId: &tenancy}))
	fmt.Println("domains", len(domains.Items))

	subnet := network(config, tenancy)
	objects(config, tenancy)
	machine(config, tenancy, *domains.Items[0].Name, subnet)
}

func network(config common.ConfigurationProvider, tenancy string) string {
	client := must(core.NewVirtualNetworkClientWithConfigurationProvider(config))
	wanted := core.CreateVcnRequest{
		CreateVcnDetails: core.CreateVcnDetails{
			CompartmentId: &tenancy, CidrBlocks: []string{"10.7.0.0/16"}, DisplayName: common.String("go"),
		},
		OpcRetryToken: common.String("the-same-token"),
	}
	vcn := must(client.CreateVcn(ctx, wanted))
	fmt.Println("created once", *must(client.CreateVcn(ctx, wanted)).Id == *vcn.Id)

	renamed := core.UpdateVcnRequest{
		VcnId:            vcn.Id,
		UpdateVcnDetails: core.UpdateVcnDetails{DisplayName: common.String("renamed")},
		IfMatch:          common.String("something-old"),
	}
	_, err := client.UpdateVcn(ctx, renamed)
	refused("changed by somebody else", err)
	renamed.IfMatch = must(client.GetVcn(ctx, core.GetVcnRequest{VcnId: vcn.Id})).Etag
	fmt.Println("name", *must(client.UpdateVcn(ctx, renamed)).DisplayName)

	made := must(client.CreateSubnet(ctx, core.CreateSubnetRequest{CreateSubnetDetails: core.CreateSubnetDetails{
		CompartmentId: &tenancy, VcnId: vcn.Id, CidrBlock: common.String("10.7.1.0/24"),
	}}))
	_, err = client.DeleteVcn(ctx, core.DeleteVcnRequest{VcnId: vcn.Id})
	refused("still in use", err)

	rules, page := 0, (*string)(nil)
	for {
		found := must(client.ListSecurityLists(ctx, core.ListSecurityListsRequest{
			CompartmentId: &tenancy, Limit: common.Int(1), Page: page,
		}))
		rules += len(found.Items)
		if page = found.OpcNextPage; page == nil {
			break
		}
	}
	fmt.Println("security lists", rules)
	return *made.Id
}

func objects(config common.ConfigurationProvider, tenancy string) {
	client := must(objectstorage.NewObjectStorageClientWithConfigurationProvider(config))
	space := must(client.GetNamespace(ctx, objectstorage.GetNamespaceRequest{})).Value
	bucket, name, text := common.String("go"), common.String("a/b c.txt"), []byte("over the wire")
	must(client.CreateBucket(ctx, objectstorage.CreateBucketRequest{
		NamespaceName:       space,
		CreateBucketDetails: objectstorage.CreateBucketDetails{Name: bucket, CompartmentId: &tenancy},
	}))
	size := int64(len(text))
	must(client.PutObject(ctx, objectstorage.PutObjectRequest{
		NamespaceName: space, BucketName: bucket, ObjectName: name, ContentLength: &size,
		PutObjectBody: io.NopCloser(bytes.NewReader(text)),
	}))
	found := must(client.GetObject(ctx, objectstorage.GetObjectRequest{
		NamespaceName: space, BucketName: bucket, ObjectName: name,
	}))
	fmt.Println("object", string(must(io.ReadAll(found.Content))))
	_, err := client.DeleteBucket(ctx, objectstorage.DeleteBucketRequest{NamespaceName: space, BucketName: bucket})
	refused("not empty", err)
	must(client.DeleteObject(ctx, objectstorage.DeleteObjectRequest{
		NamespaceName: space, BucketName: bucket, ObjectName: name,
	}))
	must(client.DeleteBucket(ctx, objectstorage.DeleteBucketRequest{NamespaceName: space, BucketName: bucket}))
}

func machine(config common.ConfigurationProvider, tenancy, domain, subnet string) {
	client := must(core.NewComputeClientWithConfigurationProvider(config))
	shape := common.String("VM.Standard.A1.Flex")
	images := must(client.ListImages(ctx, core.ListImagesRequest{CompartmentId: &tenancy, Shape: shape}))
	wanted := core.LaunchInstanceDetails{
		CompartmentId: &tenancy, AvailabilityDomain: &domain, Shape: shape,
		SourceDetails: core.InstanceSourceViaImageDetails{ImageId: images.Items[0].Id},
		ShapeConfig: &core.LaunchInstanceShapeConfigDetails{
			Ocpus: common.Float32(1), MemoryInGBs: common.Float32(6),
		},
		CreateVnicDetails: &core.CreateVnicDetails{SubnetId: &subnet},
	}
	_, err := client.LaunchInstance(ctx, core.LaunchInstanceRequest{LaunchInstanceDetails: wanted})
	refused("no room", err)
	must(client.LaunchInstance(ctx, core.LaunchInstanceRequest{LaunchInstanceDetails: wanted}))
	state := core.InstanceLifecycleStateProvisioning
	var instance core.Instance
	for state != core.InstanceLifecycleStateRunning {
		found := must(client.ListInstances(ctx, core.ListInstancesRequest{CompartmentId: &tenancy}))
		instance = found.Items[0]
		state = instance.LifecycleState
	}
	fmt.Println("instance", state, *instance.ShapeConfig.Ocpus)
	must(client.TerminateInstance(ctx, core.TerminateInstanceRequest{InstanceId: instance.Id}))
}
